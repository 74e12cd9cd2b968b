"""Nothing that an app puts into the way is followed, however often and however fast it does."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.app import accounts as app_accounts
from ansible_collections.emperor.stack.plugins.module_utils.app import owned_paths
from ansible_collections.emperor.stack.plugins.module_utils.app.owned_paths import Misplaced
from ansible_collections.emperor.stack.plugins.module_utils.host import layout

from .conftest import APP, Accounts

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")

ROUNDS = 1000

#: Runs as the app: arguments are its directory, a name in it, where a link of that name leads to, and a kind of attack.
#: `exchange` lets a link and the directory change places; `rename` and `file` take the one away and put the other there.
HOSTILE = """
import ctypes, os, sys
place, name, victim, kind, uid = sys.argv[1:]
os.setgroups([]); os.setgid(int(uid)); os.setuid(int(uid))
os.chdir(place)
libc = ctypes.CDLL(None)
if kind == "exchange":
    os.symlink(victim, "link")
print("in place", flush=True)
while True:
    try:
        if kind == "exchange":
            libc.renameat2(-100, name.encode(), -100, b"link", 2)
        else:
            os.rename(name, "aside")
            os.symlink(victim, name) if kind == "rename" else open(name, "w").close()
            os.unlink(name)
            os.rename("aside", name)
        for one in (name, "link", "aside"):
            if os.path.isdir(one) and not os.path.islink(one):
                os.chmod(one, 0o777)
    except OSError:
        pass
"""


def looks(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


@pytest.fixture
def hostile() -> Iterator[Callable[..., None]]:
    """`hostile(place, name, victim, kind)`: an app that goes on until the test has ended."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(place: str, name: str, victim: Path, kind: str) -> None:
        words = [place, name, str(victim), kind, str(APP)]
        process = subprocess.Popen([sys.executable, "-c", HOSTILE, *words], stdout=subprocess.PIPE)
        running.append(process)
        assert process.stdout
        assert process.stdout.readline() == b"in place\n"

    yield begin
    for process in running:
        process.send_signal(signal.SIGKILL)
        process.communicate()


@dataclass
class Attack:
    """What root is to ensure at a place of the app's, and what a link there would lead to."""

    wanted: app_accounts.Directory
    victim: Path

    @property
    def path(self) -> Path:
        return Path(self.wanted.path)

    def followed(self) -> bool:
        """Whether the victim was given away or filled; puts it right again."""
        if looks(self.victim) == (0, 0, 0o700) and os.listdir(self.victim) == ["of-root"]:
            return False
        os.chown(self.victim, 0, 0)
        self.victim.chmod(0o700)
        for name in {*os.listdir(self.victim)} - {"of-root"}:
            os.rmdir(self.victim / name)
        return True


@pytest.fixture(params=["~/tmp", "nested persistent"])
def attack(place: Path, accounts: Accounts, request: pytest.FixtureRequest) -> Attack:
    accounts.both("blog", APP)
    app = {"name": "blog", "renamed_from": None, "persistent": [{"path": "a/b", "served": True}]}
    for _ in app_accounts.make_directories(app, False):
        pass
    victim = place / "victim"
    victim.mkdir(mode=0o700)
    (victim / "of-root").touch()
    if request.param == "~/tmp":
        found = [one for one in app_accounts.directories(app) if one.path == layout.temporary("blog")]
        return Attack(found[0], victim)
    # What is above it was persistent itself before, so that the app may rename what is in it.
    os.chown(f"{layout.shared('blog')}/a", APP, APP)
    return Attack(app_accounts.Directory(f"{layout.shared('blog')}/a/b", "blog", "www-data", 0o2750), victim)


@as_root
@pytest.mark.parametrize("kind", ["exchange", "rename", "file"])
def test_an_app_that_swaps_directories_with_links_gets_nothing(
    attack: Attack, hostile: Callable[..., None], kind: str
) -> None:
    """The row that it was: 2 of 24 runs of site.yml gave a directory of root's away."""
    hostile(str(attack.path.parent), attack.path.name, attack.victim, kind)
    followed = rounds = 0
    said: Counter[str] = Counter()
    # As many more as a busy machine needs for the app to have its turns.
    while rounds < ROUNDS or (min(said["corrected"], said["refused"]) < 20 and rounds < 100 * ROUNDS):
        rounds += 1
        time.sleep(0.0001)
        try:
            said["corrected"] += app_accounts.ensure(attack.wanted, False) is not None
        except Misplaced:
            said["refused"] += 1
        followed += attack.followed()
    print(f"\nroot_paths_followed {followed}/{rounds} ({attack.path.name}, {kind}: {dict(said)})")
    assert followed == 0
    # Both came about, so that there was something to follow.
    assert min(said["corrected"], said["refused"]) >= 20


#: Whatever root asks of the kernel on the way.
STEPS = (
    *("lstat", "stat", "mkdir", "chown", "lchown", "chmod"),
    *("open", "fstat", "fchown", "fchmod", "scandir", "listdir"),
)


@as_root
@pytest.mark.parametrize("begins_as", ["directory", "link", "nothing"])
@pytest.mark.parametrize("step", range(1, 13))
def test_wherever_in_between_the_app_swaps_it_gets_nothing(
    attack: Attack, monkeypatch: pytest.MonkeyPatch, step: int, begins_as: str
) -> None:
    """As the one before, without luck: the app has its turn right before step number *step*, and before no other."""
    path, aside = attack.path, attack.path.parent / "aside"
    path.chmod(0o777) if path.exists() else path.mkdir(mode=0o777)
    if begins_as != "directory":
        path.rename(aside)
    if begins_as == "link":
        path.symlink_to(attack.victim)
    real_ones = {name: getattr(os, name) for name in STEPS}
    taken = 0

    def swap() -> None:
        if path.is_symlink():
            path.unlink()
            aside.rename(path)
            return
        if os.path.lexists(path):
            path.rename(path.parent / "further")
        path.symlink_to(attack.victim)

    def between(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **named: Any) -> Any:
            nonlocal taken
            taken += 1
            if taken == step:
                with monkeypatch.context() as app:
                    for name, function in real_ones.items():
                        app.setattr(os, name, function)
                    swap()
            return real(*words, **named)

        return call

    with monkeypatch.context() as kernel:
        for name, function in real_ones.items():
            kernel.setattr(os, name, between(function))
        with contextlib.suppress(Misplaced):
            app_accounts.ensure(attack.wanted, False)
    assert not attack.followed()
    assert taken >= 1


@as_root
@pytest.mark.parametrize(
    "at", [("cache",), ("cache", "tmp"), ("shared", "a"), ("shared", "a", "b")], ids="/".join
)
@pytest.mark.parametrize("kind", ["link", "link to nothing", "loop", "file", "fifo"])
def test_what_is_in_the_way_is_named_and_left_alone(
    place: Path, accounts: Accounts, at: tuple[str, ...], kind: str
) -> None:
    accounts.both("blog", APP)
    victim = place / "victim"
    victim.mkdir(mode=0o700)
    root = Path(layout.app_root("blog"))
    os.makedirs(root.joinpath(*at).parent, mode=0o711)
    path = root.joinpath(*at)
    make = {
        "link": lambda: path.symlink_to(victim),
        "link to nothing": lambda: path.symlink_to(place / "nothing"),
        "loop": lambda: path.symlink_to(path),
        "file": lambda: path.write_text("kept"),
        "fifo": lambda: os.mkfifo(path),
    }
    make[kind]()
    app = {"name": "blog", "renamed_from": None, "persistent": [{"path": "a/b", "served": False}]}
    for check_mode in (True, False):
        with pytest.raises(Misplaced) as refused:
            for _ in app_accounts.make_directories(app, check_mode):
                pass
        told = {"file": "a file", "fifo": "no directory"}.get(kind, "a link")
        assert str(refused.value).startswith(f"{path} is {told}, but must be a directory")
        assert f"mv --no-target-directory {path}" in str(refused.value)
    assert looks(victim) == (0, 0, 0o700)
    assert os.listdir(victim) == []
    assert os.path.lexists(path)


@as_root
@pytest.mark.parametrize(
    ("owner", "filled", "parent", "given"),
    [
        (0, False, APP, True),
        (0, True, APP, False),
        (0, True, 0, True),
        (APP, True, APP, True),
        (APP + 5, True, APP, True),
    ],
    ids=[
        "half made",
        "root's own",
        "where only root can put it",
        "the app's",
        "from a host with other numbers",
    ],
)
def test_what_is_given_to_the_app(place: Path, owner: int, filled: bool, parent: int, given: bool) -> None:
    above = place / "apps" / "above"
    path = above / "it"
    path.mkdir(parents=True)
    if filled:
        (path / "x").touch()
    os.chown(path, owner, owner)
    os.chown(above, parent, parent)
    if given:
        said = owned_paths.ensure_directory(layout.APPS, str(path), APP, APP, 0o2750)
        assert said == f"{path}: owner or mode corrected"
        assert looks(path) == (APP, APP, 0o2750)
        assert owned_paths.ensure_directory(layout.APPS, str(path), APP, APP, 0o2750) is None
    else:
        with pytest.raises(Misplaced, match="a non-empty directory owned by root"):
            owned_paths.ensure_directory(layout.APPS, str(path), APP, APP, 0o2750)
        assert looks(path) == (0, 0, 0o755)


@pytest.mark.parametrize("path", ["elsewhere/x", "apps/../victim", "apps/a//b", "apps/./a", "appsx/y"])
def test_only_what_lies_below_the_top(place: Path, path: str) -> None:
    with (
        pytest.raises(ValueError, match="does not lie below"),
        owned_paths.opened(layout.APPS, f"{place}/{path}"),
    ):
        pass


def test_the_way_to_the_top_may_have_links_of_roots(place: Path) -> None:
    """Such as /srv on a larger disk."""
    (place / "disk" / "apps" / "blog").mkdir(parents=True)
    (place / "link").symlink_to(place / "disk")
    top = f"{place}/link/apps"
    with owned_paths.opened(top, f"{top}/blog") as descriptor:
        assert os.path.samestat(os.fstat(descriptor), (place / "disk/apps/blog").stat())


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.ENOSPC, "disk or quota is full"),
        (errno.EDQUOT, "disk or quota is full"),
        (errno.EROFS, "Put that right"),
    ],
    ids=errno.errorcode.get,
)
def test_a_full_disk_is_said_with_the_path(
    place: Path, monkeypatch: pytest.MonkeyPatch, number: int, fix: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(owned_paths.os, "mkdir", refuse)
    path = f"{layout.APPS}/blog"
    with pytest.raises(Misplaced) as refused:
        owned_paths.ensure_directory(layout.APPS, path, os.getuid(), os.getgid(), 0o711)
    assert str(refused.value).startswith(f"{path} cannot be created or corrected: {os.strerror(number)}. ")
    assert fix in str(refused.value)


def test_no_descriptor_is_left_open(place: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    (place / "apps" / "a").symlink_to("/")
    me = (os.getuid(), os.getgid(), 0o755)
    for _ in range(3):
        owned_paths.ensure_directory(layout.APPS, f"{layout.APPS}/b", *me)
        with pytest.raises(Misplaced):
            owned_paths.ensure_directory(layout.APPS, f"{layout.APPS}/a/x/y", *me)
    assert len(os.listdir("/proc/self/fd")) == before
