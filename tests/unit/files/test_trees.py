"""Trees that an app made: as deep, as large and as odd as it likes, and swapped while root looks at them."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.files import trees
from ansible_collections.emperor.stack.plugins.module_utils.files.trees import TreeRefused
from ansible_collections.emperor.stack.plugins.module_utils.host.release_error import ReleaseError

#: Somebody who has no account anywhere.
APP, OTHER = 63_001, 63_002

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def owned(top: Path) -> None:
    trees.own(str(top), os.getuid(), os.getgid(), os.getuid(), "code")


def nest(top: Path, depth: int, name: str = "d") -> None:
    """Directories inside of each other, whose path is longer than the kernel takes, with a file at the end."""
    here = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        inner = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def paths(top: Path) -> list[str]:
    with trees.opened(str(top)) as directory:
        return [entry.path for entry in trees.walk(directory, "code")]


@pytest.fixture(autouse=True)
def nothing_deep_stays(tmp_path: Path) -> Iterator[None]:
    """pytest itself cannot delete it."""
    yield
    subprocess.run(["rm", "-rf", "--", *tmp_path.iterdir()], check=True)


# Walking


def test_a_directory_comes_before_what_is_in_it(tmp_path: Path) -> None:
    for name in ("b/y/z", "b/a", "a", "c/d"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "b/y/link").symlink_to("/")
    assert paths(tmp_path) == ["a", "b", "c", "b/a", "b/y", "b/y/link", "b/y/z", "c/d"]


def test_what_is_sealed_when_it_is_met_is_listed_after_that(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    found = []
    with trees.opened(str(tmp_path)) as directory:
        for entry in trees.walk(directory, "code"):
            found.append(entry.path)
            if entry.name == "b":
                (tmp_path / "b/late").write_text("")
    assert found == ["b", "b/late"]


@pytest.mark.parametrize("depth", [trees.DEEPEST, trees.DEEPEST + 1, 1500])
def test_how_deep_a_tree_may_be(tmp_path: Path, depth: int) -> None:
    top = tmp_path / "top"
    top.mkdir()
    nest(top, depth, name="d" * 50)
    before = len(os.listdir("/proc/self/fd"))
    try:
        if depth <= trees.DEEPEST:
            assert len(paths(top)) == depth + 1
        else:
            with pytest.raises(
                TreeRefused, match=r"code/d[d/]+…[d/]+d/ lies more than 100 directories deep"
            ) as caught:
                owned(top)
            assert len(str(caught.value)) < 400
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        trees.remove(str(top))
    assert not top.exists()


def test_how_many_entries_a_tree_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "MOST_ENTRIES", 10)
    (tmp_path / "many").mkdir()
    for number in range(9):
        (tmp_path / "many" / str(number)).write_text("")
    assert len(paths(tmp_path)) == 10
    (tmp_path / "many/x").write_text("")
    with pytest.raises(TreeRefused, match="the tree exceeds 10 files and directories at code/many/"):
        paths(tmp_path)


def test_a_link_that_takes_the_place_of_a_directory_while_it_is_walked(tmp_path: Path) -> None:
    """In a loop, as a process of the app would: what is behind the link is never met and never changed."""
    outside, top = tmp_path / "outside", tmp_path / "top"
    (outside / "secret").mkdir(parents=True)
    outside.chmod(0o711)
    place, aside = top / "place", tmp_path / "aside"
    place.mkdir(parents=True)
    (place / "mine").write_text("")
    ended = threading.Event()

    def swap() -> None:
        while not ended.is_set():
            place.rename(aside)
            place.symlink_to(outside)
            place.unlink()
            aside.rename(place)

    thread = threading.Thread(target=swap)
    thread.start()
    met: set[str] = set()
    refused = rounds = 0
    # On a busy machine the two may take long to meet: it goes on until both ways have been seen.
    latest = time.monotonic() + 120
    try:
        while rounds < 2000 or (not (refused and "place/mine" in met) and time.monotonic() < latest):
            rounds += 1
            try:
                owned(top)
                met.update(paths(top))
            except ReleaseError as error:
                assert "place" in str(error)
                refused += 1
    finally:
        ended.set()
        thread.join()
    assert refused and "place/mine" in met
    assert met <= {"place", "place/mine"}
    assert (mode(outside), mode(outside / "secret")) == (
        0o711,
        stat.S_IMODE((outside / "secret").stat().st_mode),
    )


def test_a_tree_that_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/")
    with pytest.raises(OSError), trees.opened(str(tmp_path / "link")):
        pass


# Names


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"plain/caf\xc3\xa9", "plain/caf\u00e9"),
        (b"latin-\xe9.txt", "latin-\\xe9.txt"),
        (b"a\nb\x1b[2J", "a\\nb\\x1b[2J"),
        (b"\xe2\x80\xaeevil", "\\u202eevil"),
        (b"d/" * 500, "d/" * 30 + "\u2026" + "d/" * 30),
    ],
    ids=["plain", "no UTF-8", "control characters", "turned around", "long"],
)
def test_names_in_messages(name: bytes, shown: str) -> None:
    assert trees.printable(os.fsdecode(name)) == shown
    shown.encode()


def test_names_that_are_no_utf8_are_walked_sealed_and_deleted(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    name = os.fsdecode(b"\xff\xfe")
    (top / name).mkdir()
    (top / name / name).write_text("")
    owned(top)
    assert paths(top) == [name, f"{name}/{name}"]
    assert mode(top / name / name) == 0o640
    trees.remove(str(top / name))
    assert paths(top) == []


# Sealing


@pytest.mark.parametrize(
    ("before", "is_directory", "after"),
    [
        (0o644, False, 0o640),
        (0o600, False, 0o640),
        (0o755, False, 0o750),
        (0o4755, False, 0o750),
        (0o6711, False, 0o750),
        (0o2644, False, 0o640),
        (0o666, False, 0o640),
        (0o444, False, 0o640),
        (0o777, True, 0o750),
        (0o2755, True, 0o750),
        (0o1777, True, 0o750),
        (0o700, True, 0o750),
    ],
)
def test_modes_of_a_tree(tmp_path: Path, before: int, is_directory: bool, after: int) -> None:
    path = tmp_path / "tree/sub/it"
    path.parent.mkdir(parents=True)
    path.mkdir() if is_directory else path.write_text("")
    path.chmod(before)
    owned(tmp_path / "tree")
    assert mode(path) == after
    assert mode(tmp_path / "tree") == mode(tmp_path / "tree/sub") == 0o750


def test_what_a_link_points_at_is_left_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "file").write_text("")
    for path, bits in ((outside, 0o711), (outside / "deep", 0o711), (outside / "file", 0o604)):
        path.chmod(bits)
    top = tmp_path / "tree"
    top.mkdir()
    (top / "file").symlink_to(outside / "file")
    (top / "directory").symlink_to(outside)
    (top / "dangling").symlink_to("nowhere")
    os.mkfifo(top / "fifo", 0o600)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(top / "socket"))
    owned(top)
    assert (mode(outside), mode(outside / "deep"), mode(outside / "file")) == (0o711, 0o711, 0o604)
    kinds = {path.name: stat.S_IFMT(path.lstat().st_mode) for path in top.iterdir()}
    assert (kinds["fifo"], kinds["socket"]) == (stat.S_IFIFO, stat.S_IFSOCK)
    assert mode(top / "fifo") == 0o600


@as_root
def test_a_tree_becomes_the_apps_and_then_roots(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "d").mkdir(parents=True)
    (top / "d/f").write_text("")
    (top / "link").symlink_to("d")
    (top / "roots-link").symlink_to("d")
    os.mkfifo(top / "fifo")
    trees.own(str(top), APP, APP, APP, "code")
    assert {(p.stat().st_uid, p.stat().st_gid) for p in (top, top / "d", top / "d/f")} == {(APP, APP)}
    os.chown(top / "link", APP, APP, follow_symlinks=False)
    os.chown(top / "fifo", APP, APP)
    (top / "d/f").chmod(0o4711)
    trees.own(str(top), 0, APP, APP, "code")
    everything = [top, *top.rglob("*")]
    assert len(everything) == 6
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in everything} == {(0, APP), (0, 0)}
    assert mode(top / "d/f") == 0o750


@as_root
@pytest.mark.parametrize("owner", [0, OTHER], ids=["root", "another app"])
@pytest.mark.parametrize("to", [0, APP], ids=["seal", "give"])
def test_a_hard_link_to_a_file_of_somebody_else(tmp_path: Path, owner: int, to: int) -> None:
    """Where fs.protected_hardlinks is 0, an app can bring any file of the file system into its tree."""
    top, victim = tmp_path / "top", tmp_path / "victim"
    top.mkdir()
    os.chown(top, APP, APP)
    victim.write_text("secret")
    os.chown(victim, owner, owner)
    victim.chmod(0o600)
    os.link(victim, top / "mine")
    with pytest.raises(TreeRefused, match=f"code/mine belongs to user id {owner}, not to the app"):
        trees.own(str(top), to, APP, APP, "code")
    found = victim.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (owner, owner, 0o600)


@as_root
def test_hard_links_between_the_apps_own_files(tmp_path: Path) -> None:
    """As package managers make them: into the app's own cache, and within the tree."""
    top, cached = tmp_path / "top", tmp_path / "cached"
    top.mkdir()
    os.chown(top, APP, APP)
    cached.write_text("")
    os.chown(cached, APP, APP)
    os.link(cached, top / "one")
    os.link(cached, top / "two")
    (top / "link").symlink_to("one")
    os.link(top / "link", top / "same", follow_symlinks=False)
    os.chown(top / "link", APP, APP, follow_symlinks=False)
    trees.own(str(top), 0, APP, APP, "code")
    assert {path.lstat().st_uid for path in top.iterdir()} == {0}


@as_root
def test_a_device_is_refused(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    os.mknod(top / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    with pytest.raises(TreeRefused, match="code/null is a device"):
        trees.own(str(top), 0, 0, 0, "code")


# Deleting


@pytest.mark.parametrize("depth", [700, 1500, 20_000])
def test_however_deep_it_is_it_goes(tmp_path: Path, depth: int) -> None:
    top = tmp_path / "top"
    top.mkdir()
    nest(top, depth, name="n" * 200)
    trees.remove(str(top))
    assert not top.exists()


def test_no_link_is_followed_and_what_is_gone_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_text("")
    (tmp_path / "top").mkdir()
    (tmp_path / "top/link").symlink_to("../kept")
    (tmp_path / "link").symlink_to("kept")
    trees.remove(str(tmp_path / "top"), str(tmp_path / "link"), str(tmp_path / "gone"))
    trees.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept/file").exists()


def test_what_cannot_be_deleted_is_said(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"not all of /proc/self/fdinfo could be deleted.*(?s:.*)rm: "):
        trees.remove("/proc/self/fdinfo")


def test_a_directory_for_a_while_is_deleted_however_deep(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), trees.temporary(".fetch-", str(tmp_path)) as directory:
        nest(Path(directory), 1500)
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_what_was_written_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trees.sync(str(tmp_path))

    class Broken:
        @staticmethod
        def syncfs(descriptor: int) -> int:
            return -1

    monkeypatch.setattr(trees.ctypes, "CDLL", lambda *_, **__: Broken)
    monkeypatch.setattr(trees.ctypes, "get_errno", lambda: 5)
    with pytest.raises(ReleaseError, match="did not reach its disk: Input/output error"):
        trees.sync(str(tmp_path))
