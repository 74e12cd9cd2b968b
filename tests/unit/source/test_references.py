"""Which commit a version names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host.release_error import ReleaseError
from ansible_collections.emperor.stack.plugins.module_utils.source import (
    references,
)

A, B, C = "a" * 40, "b" * 40, "c" * 40


@pytest.mark.parametrize(
    ("version", "is_one"),
    [
        (A, True),
        (A[:7], False),
        (A.upper(), False),
        (A + "a", False),
        (A + "\n", False),
        ("main", False),
        ("", False),
    ],
)
def test_what_is_a_commit(version: str, is_one: bool) -> None:
    assert references.is_commit(version) is is_one


@pytest.mark.parametrize(
    ("listing", "version", "commit"),
    [
        (f"{A}\trefs/heads/main\n", "main", A),
        (f"{A}\trefs/heads/v1\n{B}\trefs/tags/v1\n", "v1", B),
        (f"{B}\trefs/tags/v1\n{C}\trefs/tags/v1^{{}}\n", "v1", C),
        (f"{C}\trefs/heads/feature/main\n{A}\trefs/heads/main\n", "main", A),
        (f"{A}\tHEAD\n{B}\trefs/remotes/origin/HEAD\n", "HEAD", A),
        (f"{B}\trefs/tags/v1\n{C}\trefs/tags/v1^{{}}\n", "refs/tags/v1", C),
        (f"warning: redirecting\n{A}\trefs/heads/main\n", "main", A),
    ],
    ids=["branch", "tag first", "annotated", "not a suffix", "HEAD", "full name", "noise"],
)
def test_the_reference_that_a_version_names(listing: str, version: str, commit: str) -> None:
    assert references.pick_reference(listing, version, "url") == commit


@pytest.mark.parametrize("listing", ["", f"{A}\trefs/heads/x/main\n", "garbage"])
def test_a_version_that_the_remote_lacks(listing: str) -> None:
    with pytest.raises(ReleaseError, match=r"url has no branch or tag main\. Push it"):
        references.pick_reference(listing, "main", "url")


def test_an_unending_answer_of_a_server_is_cut(
    monkeypatch: pytest.MonkeyPatch, host: Path, git: Callable[..., str]
) -> None:
    remote = host / "remote"
    remote.mkdir()
    git(remote, "init", "-q", "-b", "main")
    git(remote, "commit", "-q", "--allow-empty", "-m", "x")
    for number in range(200):
        git(remote, "update-ref", f"refs/heads/x{number}/main", "HEAD")
    monkeypatch.setattr(references, "LONGEST_REFERENCES", 2048)
    with pytest.raises(ReleaseError, match="printed more than 2 KiB"):
        references.resolve_git({"git": str(remote), "version": "main"}, None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_repository_of_another_owner_on_the_host_is_refused_with_the_way_out(
    tmp_path: Path, git: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root would read its settings. Whatever the user's own configuration allows is left out."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    repository = tmp_path / "repository"
    repository.mkdir()
    git(repository, "init", "-q")
    for directory, _, files in os.walk(repository):
        for path in [directory, *(f"{directory}/{name}" for name in files)]:
            os.chown(path, 65534, 65534)
    with pytest.raises(ReleaseError, match=r"(?s)dubious ownership.*Give it to root \(chown -R root:"):
        references.resolve_git({"git": str(repository), "version": "main"}, None)
