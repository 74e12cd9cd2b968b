"""Where code comes from: git with submodules, and archives of which nothing may get out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.module_utils import layout, release_source
from ansible_collections.emperor.stack.plugins.module_utils.release_source import ReleaseError

A, B, C = "a" * 40, "b" * 40, "c" * 40


# git


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
    assert release_source.is_commit(version) is is_one


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
    assert release_source.pick_reference(listing, version, "url") == commit


@pytest.mark.parametrize("listing", ["", f"{A}\trefs/heads/x/main\n", "garbage"])
def test_a_version_that_the_remote_lacks(listing: str) -> None:
    with pytest.raises(ReleaseError, match=r"url has no branch or tag main\. Push it"):
        release_source.pick_reference(listing, "main", "url")


def test_a_commit_comes_from_a_repository_into_the_code(host: Path, git: Callable[..., str]) -> None:
    remote = host / "remote"
    remote.mkdir()
    git(remote, "init", "-q", "-b", "main")
    (remote / "app.py").write_text("one")
    git(remote, "add", ".")
    git(remote, "commit", "-qm", "one")
    source = {"git": str(remote), "version": "main"}
    commit = release_source.resolve_git(source, None)
    assert commit == git(remote, "rev-parse", "HEAD")
    release_source.fetch_git("blog", source, None, commit, str(host / "code"))
    assert os.listdir(host / "code") == ["app.py"]
    # A killed git leaves its locks: nobody has to remove them by hand.
    repository = Path(layout.app_root("blog"), "repo.git")
    for lock in ("shallow.lock", "packed-refs.lock", f"refs/emperor-stack/{commit}.lock"):
        (repository / lock).write_text("")
    release_source.fetch_git("blog", source, None, commit, str(host / "again"))
    with pytest.raises(ReleaseError, match=r"has no commit b.*Is it pushed"):
        release_source.fetch_git("blog", source, None, B, str(host / "none"))
    with pytest.raises(ReleaseError, match=r"Is source\.git right"):
        release_source.resolve_git({"git": str(host / "nothing"), "version": "main"}, None)
