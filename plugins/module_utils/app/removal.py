"""Take an app away from a host: exactly this one, with all that it has, and its data into an archive before.

The order is that of a removal that may die at any point: what runs is stopped, then the data is archived, then one rename
makes the app's directory rubbish, and the user goes last. The next run finds what is left by the user or the directory.
Nothing of an app is deleted by a glob, and no link that it may have planted is followed: files are deleted by `rm`, which
opens directories and never their links, after all processes of the app have ended.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import re
import stat
import subprocess
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..files import trees
from ..host import disk_quota, layout
from ..host.command import CommandFailed, run
from ..release import lifecycle
from ..release.state import AppState, sync_directory, write_atomically
from ..systemd import unit_names
from ..values import rules as rule
from . import archive as app_archive
from . import ending as app_ending
from .renaming import MARK, shares_user

#: Room that stays free beside an archive.
SPARE_BYTES = 64 * 1024 * 1024

#: Where programs leave files outside of what belongs to the app.
ELSEWHERE = ("/tmp", "/var/tmp", "/dev/shm", "/var/spool/cron", "/var/mail", "/var/lib/systemd/linger")  # noqa: S108

#: How much is read of what a command says of an app's files, in bytes, and how many of those elsewhere are named.
MOST_SAID = 1 << 20
MOST_LEFT = 50

#: Further tries at a user that somebody starts processes of.
USERDEL_TRIES = 3

MOUNTS = "/proc/self/mountinfo"


class Refused(Exception):
    """The app is not removed, and nothing of it was touched. The message says what to do."""


@dataclass
class Listing:
    """What there is of one app."""

    app: str
    #: None when there is no user of this name.
    uid: int | None = None
    #: Another app took this one over, and has the same uid.
    shared: bool = False
    activations: list[str] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    #: Bytes of its persistent files, and of all of its directory.
    data: int = 0
    size: int = 0
    #: What stays, and why.
    left: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.uid is not None or bool(self.units or self.paths)

    def described(self) -> dict[str, Any]:
        return {
            "user": self.app if self.uid is not None else None,
            "activations": self.activations,
            "units": self.units,
            "paths": self.paths,
            "data_bytes": self.data,
            "bytes": self.size,
            "left": self.left,
        }


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []


# looking


def found_apps() -> list[str]:
    """Every app that this host has something of, by accounts, directories, vassals, units and slices."""
    names = {account.pw_name for account in pwd.getpwall() if account.pw_gecos.startswith(MARK)}
    for name in _names(layout.APPS):
        whole = name.removeprefix(".leaving-")
        # Other directories that somebody put there are none of ours.
        ours = os.path.isdir(layout.releases(name)) and os.path.isdir(layout.state(name))
        if ours or whole != name:
            names.add(whole)
    for name in (name for emperor in lifecycle.EMPERORS for name in _names(layout.vassals(emperor))):
        if found := re.fullmatch(r"(.+)@[0-9]+\.ini(?:\.socket)?", name):
            names.add(found[1])
    for name in _names(layout.UNITS):
        if found := re.fullmatch(r"app_([^_]+)_[^_]+\.(?:service|socket|timer)", name):
            names.add(found[1])
        elif found := re.fullmatch(r"apps-([^-]+)\.slice", name):
            names.add(found[1].replace("\\x2d", "-"))
    return sorted(name for name in names if rule.name(name) is None)


def paths_of(app: str) -> list[str]:
    """All that is there of `layout.everything_of`."""
    return [
        f"{directory}/{name}"
        for directory, pattern in layout.everything_of(app)
        for name in _names(directory)
        if re.fullmatch(pattern, name)
    ]


def listing(app: str) -> Listing:
    """What there is of exactly *app*. Changes nothing."""
    found = Listing(app, _uid(app), shares_user(app))
    found.activations = [activation for _, activation in lifecycle.running_activations(app)]
    found.units = unit_names.all_units(app)
    found.paths = paths_of(app)
    if any(os.path.dirname(path) == layout.APPS for path in found.paths):
        found.data = _bytes(layout.shared(app))
        found.size = sum(_bytes(path) for path in (layout.app_root(app), layout.leaving(app)))
    found.left = [*_behind_links(found), *_left(found)]
    return found


def _uid(app: str) -> int | None:
    try:
        return pwd.getpwnam(app).pw_uid
    except KeyError:
        return None


def _said(seconds: int, *command: str) -> bytes:
    """The first `MOST_SAID` bytes that *command* prints within *seconds*."""
    # `timeout` ends it, as nobody else would where it still holds the pipe.
    line = f'timeout --kill-after=1 {seconds} "$@" 2>/dev/null | head --bytes={MOST_SAID}'
    return subprocess.run(
        ["/bin/sh", "-c", line, "sh", *command], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False
    ).stdout


def _bytes(path: str) -> int:
    """Disk space of *path* on its own filesystem; files may vanish meanwhile. 0 where it takes too long to say."""
    if not os.path.lexists(path):
        return 0
    said = _said(600, "du", "--summarize", "--one-file-system", "--block-size=1", "--", path).split()
    return int(said[0]) if said and said[0].isdigit() else 0


def _behind_links(found: Listing) -> list[str]:
    """What root's own links in the place of the app's directories lead to, such as one to a larger disk."""
    places = () if found.shared else (layout.app_root, layout.shared, layout.cache)
    paths = [place(found.app) for place in places]
    return [f"{os.path.realpath(path)}: {path} is a link to it" for path in paths if os.path.islink(path)]


def _left(found: Listing) -> Iterator[str]:
    """What else a removal does not touch, one line each."""
    for path in layout.front_locals(found.app):
        if os.path.lexists(path):
            yield f"{path}: directives of your own"
    if found.uid is not None and not found.shared:
        places = [path for path in ELSEWHERE if os.path.isdir(path)]
        said = _said(120, "find", *places, "-xdev", "-uid", str(found.uid), "-prune", "-print0")
        whole = sorted(said.split(b"\0")[:-1])
        for name in whole[:MOST_LEFT]:
            path = trees.printable(os.fsdecode(name))
            yield f"{path}: owned by uid {found.uid}, which a later user may get"
        if len(whole) > MOST_LEFT or len(said) == MOST_SAID:
            yield f"… and more, owned by uid {found.uid}: find {' '.join(places)} -xdev -uid {found.uid}"


def mounts_below(path: str, mountinfo: str) -> list[str]:
    """Mount points at or below *path* in a text like /proc/self/mountinfo."""
    points = [
        re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), line.split()[4])
        for line in mountinfo.splitlines()
    ]
    return [point for point in points if f"{point}/".startswith(f"{path}/")]


# refusing


def check(
    found: Listing,
    successor: str | None,
    archive: bool,
    break_lock: bool,
    dead: Collection[str],
    site: bool = True,
) -> None:
    """Raise Refused or Locked where *found* must not be removed. *site*: whether the web server must have forgotten it.

    *dead* are tokens of runs that have ended, whose locks hold nobody up.
    """
    app = found.app
    account = pwd.getpwnam(app) if found.uid is not None else None
    if account is not None and not account.pw_gecos.startswith(MARK):
        raise Refused(
            f"user {app} (uid {account.pw_uid}, {account.pw_gecos or 'no comment'}) is not an app's. Remove by hand what "
            "is meant"
        )
    if successor and not _serves(successor):
        raise Refused(
            f"{successor}, which takes its place, is not live yet. Deploy that first: -e app={successor}"
        )
    AppState(app).free_lock(dead, break_lock)
    served = [
        path
        for unit, path in layout.front_sites(app).items()
        if os.path.lexists(path) and app_ending.active(unit)
    ]
    if site and served:
        raise Refused(
            f"the web server still has its site {served[0]}, so that visitors would meet errors. site.yml and "
            "playbooks/remove.yml take it out; one that was changed by hand has to be removed by hand"
        )
    if site and (leading := _sites_that_lead_to(app)):
        raise Refused(
            f"{leading[0]} still leads visitors to it, who would meet errors. site.yml and playbooks/remove.yml take that "
            "out, where nothing holds the site back"
        )
    with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
        points = mounts_below(layout.app_root(app), file.read())
    if points:
        raise Refused(f"something is mounted at {', '.join(points)}. Unmount it first; what is on it stays")
    if archive:
        _check_room(found)


def _sites_that_lead_to(app: str) -> list[str]:
    """Other sites of a running web server in which *app* is mounted at a path."""
    own = layout.front_sites(app)
    socket = f"unix:{layout.active_socket(app)}".encode()
    found = []
    for unit, mine in own.items():
        directory = os.path.dirname(mine)
        for path in (f"{directory}/{name}" for name in _names(directory) if name.endswith(".conf")):
            with contextlib.suppress(OSError), open(path, "rb") as file:
                if path != mine and socket in file.read():
                    found.append((unit, path))
    running = {unit for unit in {unit for unit, _ in found} if app_ending.active(unit)}
    return [path for unit, path in found if unit in running]


def _serves(app: str) -> bool:
    """Whether *app* has a live activation of its own."""
    activation = AppState(app).live_activation() or ""
    return activation.startswith(f"{app}@") and lifecycle.runner_of(activation) is not None


def _check_room(found: Listing) -> None:
    place = layout.BACKUPS
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    there = os.statvfs(place)
    free = there.f_bavail * there.f_frsize
    if found.data + SPARE_BYTES > free:
        raise Refused(
            f"its data takes {mib(found.data)} MiB, and {layout.BACKUPS} has {mib(free)} MiB free for the archive. Make "
            "room, or remove it without one: -e archive=false"
        )


def mib(size: int) -> int:
    return -(-size // (1024 * 1024))


# removing


def remove(
    app: str,
    successor: str | None = None,
    archive: bool = True,
    break_lock: bool = False,
    dead: Collection[str] = (),
) -> dict[str, Any]:
    """Remove all of exactly *app*; return what went, and where its data is. Raises Refused, Locked or CommandFailed."""
    found = listing(app)
    if not found:
        return {**found.described(), "archive": None}
    # What a successor took over is not this app's any more.
    archive = archive and successor is None
    check(found, successor, archive, break_lock, dead)
    kept: str | None = None
    not_kept: list[str] = []
    with contextlib.ExitStack() as stack:
        if os.path.isdir(layout.state(app)):
            stack.enter_context(AppState(app).working(seconds=120))
        app_ending.end(app, None if found.shared else found.uid)
        if archive and os.path.isdir(layout.app_root(app)):
            kept, not_kept = app_archive.write(app)
        _forget_certificates(app)
        _delete(app)
    _forget(app)
    if successor:
        # By it visitors were led to this app until the successor was live.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{layout.activations(successor)}/{app}")
    _remove_user(found)
    behind = [line for line in found.left if " is a link to it" in line]
    return {**found.described(), "left": [*behind, *_left(found)], "archive": kept, "not_archived": not_kept}


def _delete(app: str) -> None:
    """Delete all files of *app*. A death after the rename leaves rubbish, and no app that looks whole."""
    root, rubbish = layout.app_root(app), layout.leaving(app)
    if os.path.lexists(root):
        if os.path.lexists(rubbish):
            delete([rubbish])
        os.rename(root, rubbish)
        sync_directory(layout.APPS)
    paths = paths_of(app)
    delete(paths)
    if any(path.startswith(f"{layout.UNITS}/") for path in paths):
        run(["systemctl", "daemon-reload"], what="systemctl daemon-reload", timeout=90)


def delete(paths: Sequence[str]) -> None:
    """Delete *paths* with all that is in them. Links in them are deleted, not followed; other filesystems are left."""
    if paths:
        run(
            ["rm", "--recursive", "--force", "--one-file-system", "--", *paths],
            what="deleting its files",
            timeout=3600,
        )


def _forget_certificates(app: str) -> None:
    """Before they are deleted: the timer would order them again."""
    # Not at the top: app_accounts, which is asked in every run, takes `found_apps` from here.
    from ..tls import store as certificate_store

    certificate_store.forget(app)


def _forget(app: str) -> None:
    """Take *app* out of what is written for all apps of the host together. The next site.yml would write the same."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        with open(layout.SIZES, encoding="utf-8") as file:
            sizes = json.load(file)
        if sizes.pop(app, None) is not None:
            write_atomically(layout.SIZES, json.dumps(sizes, indent=1, sort_keys=True) + "\n", 0o644)
    with contextlib.suppress(FileNotFoundError):
        with open(layout.TMPFILES, encoding="utf-8") as file:
            text = file.read()
        gone = {
            layout.socket_directory(app),
            layout.old_socket_directory(app),
            layout.old_waiting_directory(app),
        }
        kept = without_directories(text, gone)
        if kept != text:
            write_atomically(layout.TMPFILES, kept, stat.S_IMODE(os.stat(layout.TMPFILES).st_mode))


def without_directories(tmpfiles: str, gone: Iterable[str]) -> str:
    """The lines of a tmpfiles.d file without those for exactly the paths *gone*."""
    paths = set(gone)
    lines = tmpfiles.splitlines(keepends=True)
    return "".join(line for line in lines if paths.isdisjoint(line.split()[1:2]))


def _remove_user(found: Listing) -> None:
    """The user goes last: it is what a killed removal is found by."""
    app = found.app
    with contextlib.suppress(KeyError):
        grp.getgrnam(app)
        run(["groupdel", "--force", app], what=f"removing group {app}", timeout=60)
    if _uid(app) is None:
        return
    # userdel would refuse where processes of the app that took this one over have the uid.
    force = ["--force"] if found.shared else []
    if found.uid is not None and not found.shared:
        disk_quota.forget(found.uid)
    for more in range(USERDEL_TRIES, -1, -1):
        try:
            run(["userdel", *force, app], what=f"removing user {app}", timeout=60)
            return
        except CommandFailed:
            # It refuses as well where a cron job of the app's has begun while its files were deleted.
            if not more or found.shared or found.uid is None:
                raise
            app_ending.kill(found.uid)
