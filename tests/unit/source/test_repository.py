"""The repository that root fetches into."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed
from ansible_collections.emperor.stack.plugins.module_utils.host.release_error import ReleaseError
from ansible_collections.emperor.stack.plugins.module_utils.source import git as git_source
from ansible_collections.emperor.stack.plugins.module_utils.source import (
    references,
    repository,
)

A = "a" * 40

pytestmark = pytest.mark.usefixtures("as_myself")


def test_a_repository_of_the_version_before_is_opened_to_the_group_alone(
    host: Path, git: Callable[..., str]
) -> None:
    remote = host / "remote"
    remote.mkdir()
    git(remote, "init", "-q", "-b", "main")
    (remote / "app.py").write_text("one")
    git(remote, "add", ".")
    git(remote, "commit", "-qm", "one")
    source = {"git": str(remote), "version": "main"}
    commit = references.resolve_git(source, None)
    repository = Path(layout.app_root("blog"), "repo.git")
    git(host, "init", "-q", "--bare", str(repository))
    git(
        repository,
        "fetch",
        "-q",
        str(remote),
        f"main:refs/emperor-stack/{commit}",
        "main:refs/fetched/1234/heads/main",
    )
    os.chmod(repository, 0o700)
    git_source.fetch_git("blog", source, None, commit, str(host / "code"))
    assert (host / "code/app.py").read_text() == "one"
    assert git(repository, "for-each-ref", "refs/fetched") == ""
    (remote / "app.py").write_text("two")
    git(remote, "commit", "-qam", "two")
    umask = os.umask(0o077)
    try:
        again = references.resolve_git(source, None)
        git_source.fetch_git("blog", source, None, again, str(host / "again"))
    finally:
        os.umask(umask)
    modes = {
        (path.is_dir(), oct(path.stat().st_mode & 0o7777)) for path in [repository, *repository.rglob("*")]
    }
    assert modes == {(True, "0o2750"), (False, "0o640"), (False, "0o440")}


@pytest.mark.parametrize(
    ("free", "says"), [(1 << 20, "No space left on device: 1 MiB are free"), (1 << 40, "")]
)
def test_a_fetch_without_room_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, says: str
) -> None:
    """git itself says that its own program failed, which the kernel ended at the limit of a file."""

    def fails(*_: object, **__: object) -> str:
        raise CommandFailed(
            "git fetch", "git fetch", "exit status 128", "fatal: fetch-pack: invalid index-pack output"
        )

    monkeypatch.setattr(repository, "run", fails)
    monkeypatch.setattr(repository.os, "statvfs", lambda _: SimpleNamespace(f_bavail=free, f_frsize=1))
    git = repository.Git(str(tmp_path), {}, None)
    with pytest.raises(ReleaseError if says else CommandFailed, match=says or "index-pack"):
        git._fetch("https://git.example/x.git", [A])
