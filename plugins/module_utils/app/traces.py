"""What a host has of an app: its processes, units, files and what it left elsewhere. Changes nothing."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..files import trees
from ..host import layout
from ..release import lifecycle
from ..systemd import unit_names
from ..values import names as app_names
from .renaming import MARK, shares_user

#: Where programs leave files outside of what belongs to the app.
ELSEWHERE = ("/tmp", "/var/tmp", "/dev/shm", "/var/spool/cron", "/var/mail", "/var/lib/systemd/linger")  # noqa: S108

#: How much is read of what a command says of an app's files, in bytes, and how many of those elsewhere are named.
MOST_SAID = 1 << 20
MOST_LEFT = 50


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
    #: Logs of the web server, which are of `paths`.
    logs: list[str] = field(default_factory=list)
    #: Bytes of its persistent files, of these logs, and of all of its directory.
    data: int = 0
    log_size: int = 0
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


def names_in(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []


def found_apps() -> list[str]:
    """Every app that this host has something of, by accounts, directories, vassals, units and slices."""
    names = {account.pw_name for account in pwd.getpwall() if account.pw_gecos.startswith(MARK)}
    for name in names_in(layout.APPS):
        whole = name.removeprefix(".leaving-")
        # Other directories that somebody put there are none of ours.
        ours = os.path.isdir(layout.releases(name)) and os.path.isdir(layout.state(name))
        if ours or whole != name:
            names.add(whole)
    for name in (name for emperor in lifecycle.EMPERORS for name in names_in(layout.vassals(emperor))):
        if found := re.fullmatch(r"(.+)@[0-9]+\.ini(?:\.socket)?", name):
            names.add(found[1])
    for name in names_in(layout.UNITS):
        if found := re.fullmatch(r"app_([^_]+)_[^_]+\.(?:service|socket|timer)", name):
            names.add(found[1])
        elif found := re.fullmatch(r"apps-([^-]+)\.slice", name):
            names.add(found[1].replace("\\x2d", "-"))
    return sorted(name for name in names if app_names.name(name) is None)


def paths_of(app: str) -> list[str]:
    """All that is there of `layout.everything_of`."""
    return [
        f"{directory}/{name}"
        for directory, pattern in layout.everything_of(app)
        for name in names_in(directory)
        if re.fullmatch(pattern, name)
    ]


def listing(app: str) -> Listing:
    """What there is of exactly *app*. Changes nothing."""
    found = Listing(app, uid_of(app), shares_user(app))
    found.activations = [activation for _, activation in lifecycle.running_activations(app)]
    found.units = unit_names.all_units(app)
    found.paths = paths_of(app)
    found.logs = [path for path in found.paths if os.path.dirname(path) in layout.FRONT_LOGS]
    found.log_size = sum(os.lstat(path).st_size for path in found.logs if os.path.lexists(path))
    if any(os.path.dirname(path) == layout.APPS for path in found.paths):
        found.data = _bytes(layout.shared(app))
        found.size = sum(_bytes(path) for path in (layout.app_root(app), layout.leaving(app)))
    found.left = [*_behind_links(found), *left_behind(found)]
    return found


def uid_of(app: str) -> int | None:
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


def left_behind(found: Listing) -> Iterator[str]:
    """What else a removal does not touch, one line each."""
    for path in layout.front_locals(found.app):
        if os.path.lexists(path):
            yield f"{path}: directives of your own"
    places = [path for path in ELSEWHERE if os.path.isdir(path)]
    # Without a place, find would search the current directory.
    if places and found.uid is not None and not found.shared:
        said = _said(120, "find", *places, "-xdev", "-uid", str(found.uid), "-prune", "-print0")
        whole = sorted(said.split(b"\0")[:-1])
        for name in whole[:MOST_LEFT]:
            path = trees.printable(os.fsdecode(name))
            yield f"{path}: owned by uid {found.uid}, which a later user may get"
        if len(whole) > MOST_LEFT or len(said) == MOST_SAID:
            yield f"… and more, owned by uid {found.uid}: find {' '.join(places)} -xdev -uid {found.uid}"
