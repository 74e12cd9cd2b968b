"""Put files into place, all or none."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
from typing import Any

from ..files.atomic import forget, new_file, sync_directory
from . import items as logic
from .items import Change, Current, FileSetError, Item


def inspect(path: str) -> Current:
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Current("absent")
    owned: dict[str, Any] = {"uid": found.st_uid, "gid": found.st_gid, "mode": stat.S_IMODE(found.st_mode)}
    if stat.S_ISLNK(found.st_mode):
        return Current("link", target=os.readlink(path), **owned)
    if stat.S_ISDIR(found.st_mode):
        return Current("directory", **owned)
    if stat.S_ISREG(found.st_mode):
        with open(path, "rb") as file:
            return Current("file", content=file.read(), **owned)
    return Current("other", **owned)


def user_id(name: str | None) -> int | None:
    if name is None:
        return None
    return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid


def group_id(name: str | None) -> int | None:
    if name is None:
        return None
    return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid


def ids(item: Item, check_mode: bool) -> tuple[int | None, int | None]:
    """-2, which no path has, stands for one who does not exist yet in check mode."""
    found: list[int | None] = []
    for kind, name, look_up in (("user", item.owner, user_id), ("group", item.group, group_id)):
        try:
            found.append(look_up(name))
        except KeyError:
            if not check_mode:
                raise FileSetError(
                    f"{item.path}: there is no {kind} {name!r} on this host. Create it first"
                ) from None
            found.append(-2)
    return found[0], found[1]


def temporary(path: str, role: str) -> str:
    directory, name = os.path.split(path)
    return os.path.join(directory, logic.TEMPORARY.format(name=name, role=role))


def write_new(path: str, item: Item, current: Current, uid: int | None, gid: int | None) -> None:
    """Put the item's new inode at *path*, with its final owner and mode before it gets any content."""
    forget(path)
    # What the set does not care about stays as it was.
    keep_uid = uid if uid is not None else (current.uid if current.state != "absent" else -1)
    keep_gid = gid if gid is not None else (current.gid if current.state != "absent" else -1)
    if item.kind == "link":
        os.symlink(item.target, path)
        os.chown(path, keep_uid, keep_gid, follow_symlinks=False)
        return
    with new_file(path, item.mode if item.mode is not None else 0o600, keep_uid, keep_gid) as file:
        file.write(item.content)


def set_attributes(path: str, uid: int | None, gid: int | None, mode: int | None) -> None:
    os.chown(path, -1 if uid is None else uid, -1 if gid is None else gid, follow_symlinks=False)
    # After chown, which clears setuid and setgid.
    if mode is not None:
        os.chmod(path, mode)


class Swap:
    """All changes of a run, or none: what was there is kept until `commit`, and `roll_back` puts it back."""

    def __init__(self) -> None:
        self.undo: list[tuple[str, Any]] = []
        self.backups: list[str] = []
        self.temporaries: list[str] = []
        self.directories: set[str] = set()
        self.emptied: list[str] = []

    def prepare(self, change: Change, uid: int | None, gid: int | None) -> None:
        """All that can fail for lack of space or rights, before the first visible change."""
        item = change.item
        if item.kind == "directory" or not change.replaces:
            return
        new = temporary(item.path, "new")
        self.temporaries.append(new)
        write_new(new, item, change.current, uid, gid)

    def make_directory(self, item: Item, uid: int | None, gid: int | None) -> None:
        os.mkdir(item.path, 0o700)
        self.undo.append(("rmdir", item.path))
        self.directories.add(os.path.dirname(item.path))
        set_attributes(item.path, uid, gid, item.mode)

    def apply(self, change: Change, uid: int | None, gid: int | None) -> None:
        item, current = change.item, change.current
        if not change.replaces:
            self.undo.append(("attributes", (item.path, current)))
            set_attributes(item.path, uid, gid, item.mode)
            return
        self._set_aside(item.path)
        os.rename(temporary(item.path, "new"), item.path)
        self.directories.add(os.path.dirname(item.path))

    def remove(self, path: str) -> None:
        if inspect(path).state == "directory":
            self.emptied.append(path)
            return
        self._set_aside(path)
        os.unlink(path)
        self.directories.add(os.path.dirname(path))

    def _set_aside(self, path: str) -> None:
        backup = temporary(path, "old")
        forget(backup)
        if os.path.lexists(path):
            os.link(path, backup, follow_symlinks=False)
            self.backups.append(backup)
            self.undo.append(("rename", (backup, path)))
        else:
            self.undo.append(("unlink", path))

    def commit(self) -> None:
        for directory in sorted(self.directories):
            sync_directory(directory)
        for path in self.backups:
            forget(path)
        # Not before: they hold the backups of what was in them. Somebody may have put something there meanwhile.
        for path in self.emptied:
            with contextlib.suppress(OSError):
                os.rmdir(path)
                sync_directory(os.path.dirname(path))

    def roll_back(self) -> None:
        for what, value in reversed(self.undo):
            if what == "rename":
                # A rename between two names of one inode does nothing and leaves both.
                os.rename(*value)
                forget(value[0])
            elif what == "unlink":
                forget(value)
            elif what == "rmdir":
                os.rmdir(value)
            else:
                path, current = value
                set_attributes(
                    path, current.uid, current.gid, current.mode if current.state != "link" else None
                )
        for path in self.temporaries:
            forget(path)
