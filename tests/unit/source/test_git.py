"""Code from git: which commit, which files, by whose hands, and with whose password."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed
from ansible_collections.emperor.stack.plugins.module_utils.host.release_error import ReleaseError
from ansible_collections.emperor.stack.plugins.module_utils.source import (
    checkout,
    references,
)
from ansible_collections.emperor.stack.plugins.module_utils.source import git as git_source

A, B, C = "a" * 40, "b" * 40, "c" * 40

pytestmark = pytest.mark.usefixtures("as_myself")


def test_a_commit_comes_from_a_repository_into_the_code(host: Path, git: Callable[..., str]) -> None:
    remote = host / "remote"
    remote.mkdir()
    git(remote, "init", "-q", "-b", "main")
    (remote / "app.py").write_text("one")
    git(remote, "add", ".")
    git(remote, "commit", "-qm", "one")
    source = {"git": str(remote), "version": "main"}
    commit = references.resolve_git(source, None)
    assert commit == git(remote, "rev-parse", "HEAD")
    git_source.fetch_git("blog", source, None, commit, str(host / "code"))
    assert os.listdir(host / "code") == ["app.py"]
    # A killed git leaves its locks: nobody has to remove them by hand.
    repository = Path(layout.app_root("blog"), "repo.git")
    for lock in ("shallow.lock", "packed-refs.lock", f"refs/emperor-stack/{commit}.lock"):
        (repository / lock).write_text("")
    git_source.fetch_git("blog", source, None, commit, str(host / "again"))
    with pytest.raises(ReleaseError, match=r"has no commit b.*Push it"):
        git_source.fetch_git("blog", source, None, B, str(host / "none"))
    with pytest.raises(ReleaseError, match=r"Check source\.git"):
        references.resolve_git({"git": str(host / "nothing"), "version": "main"}, None)


def test_submodules_and_theirs_come_without_a_repository_inside(host: Path, git: Callable[..., str]) -> None:
    for name, inside in (("leaf", None), ("part", "leaf"), ("whole", "part")):
        work = host / name
        work.mkdir()
        git(work, "init", "-q", "-b", "main")
        (work / "name.txt").write_text(name)
        if inside:
            git(work, "-c", "protocol.file.allow=always", "submodule", "add", "-q", f"../{inside}", "sub/mod")
            modules = (work / ".gitmodules").read_text()
            assert f"url = ../{inside}" in modules
        git(work, "add", ".")
        git(work, "commit", "-qm", name)
    source = {"git": str(host / "whole"), "version": "main", "submodules": True}
    commit = references.resolve_git(source, None)
    git_source.fetch_git("blog", source, None, commit, str(host / "code"))
    found = {
        p.relative_to(host / "code").as_posix(): p.read_text() for p in (host / "code").rglob("name.txt")
    }
    assert found == {"name.txt": "whole", "sub/mod/name.txt": "part", "sub/mod/sub/mod/name.txt": "leaf"}
    assert not list((host / "code").rglob(".git"))
    git_source.fetch_git("blog", {**source, "submodules": False}, None, commit, str(host / "plain"))
    assert os.listdir(host / "plain/sub/mod") == []
    git_source.fetch_git("blog", {**source, "subdirectory": "sub/mod"}, None, commit, str(host / "part-code"))
    assert (host / "part-code/name.txt").read_text() == "part"
    with pytest.raises(ReleaseError, match=r"has no directory nothing in .*Correct source\.subdirectory"):
        git_source.fetch_git("blog", {**source, "subdirectory": "nothing"}, None, commit, str(host / "none"))


def test_a_subdirectory_that_is_a_link_out_of_the_repository(host: Path, git: Callable[..., str]) -> None:
    remote = host / "remote"
    remote.mkdir()
    git(remote, "init", "-q", "-b", "main")
    (remote / "out").symlink_to("/etc")
    git(remote, "add", ".")
    git(remote, "commit", "-qm", "x")
    source = {"git": str(remote), "version": "main", "subdirectory": "out"}
    with pytest.raises(ReleaseError, match="has no directory out"):
        git_source.fetch_git("blog", source, None, references.resolve_git(source, None), str(host / "c"))
    assert Path("/etc/passwd").exists()


# Hostile trees


def raw(git: Callable[..., str], work: Path, *entries: tuple[str, bytes, str]) -> str:
    """Write a tree object as it is said, whatever git thinks of it: (mode, name, id) each. Returns its id."""
    content = b"".join(
        mode.encode() + b" " + name + b"\0" + bytes.fromhex(one) for mode, name, one in entries
    )
    (work / "tree").write_bytes(content)
    return git(work, "hash-object", "-t", "tree", "--literally", "-w", "tree")


class Hostile:
    """A repository with a submodule, whose top tree is written by hand."""

    def __init__(self, host: Path, git: Callable[..., str]) -> None:
        self.git, self.host = git, host
        for name in ("part", "whole"):
            (host / name).mkdir()
            git(host / name, "init", "-q", "-b", "main")
        (host / "part/evil.txt").write_text("written by root\n")
        git(host / "part", "add", ".")
        git(host / "part", "commit", "-qm", "part")
        self.part = git(host / "part", "rev-parse", "HEAD")
        self.whole = host / "whole"

    def blob(self, content: str) -> str:
        (self.whole / "blob").write_text(content)
        return self.git(self.whole, "hash-object", "-w", "blob")

    def modules(self, path: str, url: str = "../part") -> tuple[str, bytes, str]:
        return "100644", b".gitmodules", self.blob(f'[submodule "m"]\n\tpath = {path}\n\turl = {url}\n')

    def commit(self, *entries: tuple[str, bytes, str]) -> str:
        commit = self.git(self.whole, "commit-tree", "-m", "x", raw(self.git, self.whole, *entries))
        self.git(self.whole, "update-ref", "refs/heads/main", commit)
        return commit

    def deploy(self, commit: str, **more: object) -> None:
        source = {"git": str(self.whole), "version": "main", "submodules": True, **more}
        git_source.fetch_git("blog", source, None, commit, str(self.host / "code"))


@pytest.fixture
def hostile(host: Path, git: Callable[..., str]) -> Hostile:
    return Hostile(host, git)


def _parent(hostile: Hostile) -> str:
    inner = raw(hostile.git, hostile.whole, ("160000", b"out", hostile.part))
    return hostile.commit(("40000", b"..", inner), hostile.modules("../out"))


def _link(hostile: Hostile) -> str:
    """A link, and a directory of the same name with the submodule in it."""
    inner = raw(hostile.git, hostile.whole, ("160000", b"m", hostile.part))
    link = hostile.blob(str(hostile.host / "outside"))
    return hostile.commit(hostile.modules("a/m"), ("120000", b"a", link), ("40000", b"a", inner))


def _git_directory(hostile: Hostile) -> str:
    inner = raw(hostile.git, hostile.whole, ("100644", b"config", hostile.blob("[core]\n")))
    return hostile.commit(("40000", b".GIT", inner))


def _twice(hostile: Hostile) -> str:
    return hostile.commit(("100644", b"a", hostile.blob("one")), ("100644", b"a", hostile.blob("two")))


@pytest.mark.parametrize("make", [_parent, _link, _git_directory, _twice])
@pytest.mark.parametrize("fetched_before", [False, True])
def test_a_tree_that_would_write_elsewhere_is_refused(
    hostile: Hostile, make: Callable[[Hostile], str], fetched_before: bool
) -> None:
    """By git when it is fetched, and by us where the version before has fetched it already, without a look."""
    commit = make(hostile)
    (hostile.host / "outside").mkdir()
    if fetched_before:
        repository = Path(layout.app_root("blog"), "repo.git")
        hostile.git(hostile.host, "init", "-q", "--bare", str(repository))
        hostile.git(repository, "fetch", "-q", str(hostile.whole), f"{commit}:refs/emperor-stack/{commit}")
    with pytest.raises((ReleaseError, CommandFailed)) as caught:
        hostile.deploy(commit)
    if fetched_before:
        assert isinstance(caught.value, ReleaseError)
        assert f"{hostile.whole} at {commit[:7]}: " in str(caught.value)
        assert "remove that entry from the repository" in str(caught.value)
    else:
        assert "fsck" in str(caught.value) or "object" in str(caught.value)
    assert not list(hostile.host.rglob("evil.txt")) or (hostile.host / "part/evil.txt").exists()
    assert [path for path in hostile.host.rglob("evil.txt") if "part" not in path.parts] == []
    assert not (hostile.host / "code").exists()


def test_a_name_of_a_submodule_leads_nowhere(hostile: Hostile) -> None:
    modules = hostile.blob('[submodule "../../../x"]\n\tpath = m\n\turl = ../part\n')
    commit = hostile.commit(("100644", b".gitmodules", modules), ("160000", b"m", hostile.part))
    repository = Path(layout.app_root("blog"), "repo.git")
    hostile.git(hostile.host, "init", "-q", "--bare", str(repository))
    hostile.git(repository, "fetch", "-q", str(hostile.whole), f"{commit}:refs/emperor-stack/{commit}")
    hostile.deploy(commit)
    assert (hostile.host / "code/m/evil.txt").read_text() == "written by root\n"


@pytest.mark.parametrize(
    ("target", "wanted", "found"),
    [
        ("services/v2", "current", "two"),
        ("../other/v2", "services/current", None),
        ("../../etc", "services/current", None),
        ("/etc", "current", None),
        ("current", "current", None),
        ("services", "current/v2", "two"),
    ],
)
def test_a_subdirectory_behind_a_link_stays_inside(
    host: Path, git: Callable[..., str], target: str, wanted: str, found: str | None
) -> None:
    remote = host / "remote"
    (remote / "services/v2").mkdir(parents=True)
    (remote / "services/v2/name").write_text("two")
    link = remote / ("services/current" if wanted == "services/current" else "current")
    link.symlink_to(target)
    git(remote, "init", "-q", "-b", "main")
    git(remote, "add", ".")
    git(remote, "commit", "-qm", "x")
    source = {"git": str(remote), "version": "main", "subdirectory": wanted}
    commit = references.resolve_git(source, None)
    if found is None:
        with pytest.raises(ReleaseError, match=r"has no directory .*Correct source\.subdirectory"):
            git_source.fetch_git("blog", source, None, commit, str(host / "code"))
    else:
        git_source.fetch_git("blog", source, None, commit, str(host / "code"))
        assert (host / "code/name").read_text() == found


def test_a_link_put_in_the_way_is_not_followed(tmp_path: Path) -> None:
    """The app's processes share the directory that its code is checked out into."""
    (tmp_path / "whole/a").mkdir(parents=True)
    (tmp_path / "elsewhere/b").mkdir(parents=True)
    (tmp_path / "whole/a/b").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ReleaseError, match="deploy it again"):
        checkout.take_out(str(tmp_path / "whole"), b"a/b", str(tmp_path / "code"), os.getuid())
    assert not os.path.lexists(tmp_path / "code")
    (tmp_path / "whole/c").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        checkout.take_out(str(tmp_path / "whole"), b"c/b", str(tmp_path / "code"), os.getuid())
    assert (tmp_path / "elsewhere/b").is_dir()


def test_attributes_above_the_subdirectory_count(host: Path, git: Callable[..., str]) -> None:
    remote = host / "remote"
    (remote / "app").mkdir(parents=True)
    (remote / ".gitattributes").write_text("*.bat text eol=crlf\n")
    (remote / "app/run.bat").write_text("one\ntwo\n")
    (remote / "app" / os.fsdecode(b"caf\xe9 \n")).write_text("x")
    git(remote, "init", "-q", "-b", "main")
    git(remote, "add", ".")
    git(remote, "commit", "-qm", "x")
    source = {"git": str(remote), "version": "main", "subdirectory": "app"}
    commit = references.resolve_git(source, None)
    git_source.fetch_git("blog", source, None, commit, str(host / "code"))
    assert (host / "code/run.bat").read_bytes() == b"one\r\ntwo\r\n"
    assert sorted(os.listdir(os.fsencode(host / "code"))) == [b"caf\xe9 \n", b"run.bat"]
