"""Copy an app's tree as root, by descriptors alone and within what is free, and link the files of a sealed one."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Sequence

from ..host.release_error import ReleaseError
from .reading import inside, readable
from .trees import DIRECTORY, FILE, MOST_ENTRIES, Entry, TreeRefused, printable, walk

#: Bytes that stay free on a file system into which root copies or unpacks what is an app's.
SPARE_BYTES = 64 << 20

#: Times of copied files lie before this one, in 2004: in the past, whatever clock a host has.
LATEST = 1 << 30


class Mirror:
    """The directory of *target* that stands where an entry of a walked tree stands there; its own are made by `make`."""

    def __init__(self, target: int, gid: int) -> None:
        self._gid = gid
        self._open = [("", os.open(".", DIRECTORY, dir_fd=target))]

    def __enter__(self) -> Mirror:
        return self

    def __exit__(self, *failure: object) -> None:
        for _, descriptor in self._open:
            os.close(descriptor)

    def directory(self, entry: Entry) -> int:
        """Open until that of an entry elsewhere is asked for."""
        above = entry.path[: len(entry.path) - len(entry.name)]
        while not above.startswith(self._open[-1][0]):
            os.close(self._open.pop()[1])
        path, descriptor = self._open[-1]
        if path != above:
            name = above[len(path) : -1]
            self._open.append((above, os.open(name, DIRECTORY, dir_fd=descriptor)))
        return self._open[-1][1]

    def make(self, entry: Entry) -> None:
        """A directory for the directory *entry*: root's, readable by the group. Raises OSError."""
        os.close(made_directory(self.directory(entry), entry.name, self._gid))


def made_directory(above: int, name: str, gid: int) -> int:
    """Directory *name* of the open directory *above*, made for group *gid* where it is missing; no link. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=above)
    descriptor = os.open(name, DIRECTORY, dir_fd=above)
    os.fchown(descriptor, -1, gid)
    os.fchmod(descriptor, 0o750)
    return descriptor


class Room:
    """Bytes and inodes that a copy may take of a file system: what is free, but for a little."""

    def __init__(self, place: int | str) -> None:
        there = os.statvfs(place)
        self.bytes = there.f_bavail * there.f_frsize - SPARE_BYTES
        # Some file systems make inodes as they are wanted, and say 0.
        self.inodes = there.f_favail if there.f_files else MOST_ENTRIES
        self._all = self.bytes

    def take(self, size: int, what: str, inodes: int = 0) -> None:
        """Raises TreeRefused where that is more than there is."""
        self.bytes -= size
        self.inodes -= inodes
        if self.bytes < 0 or self.inodes < 0:
            of = f"{max(self._all, 0) >> 20} MiB" if self.bytes < 0 else "inodes"
            raise TreeRefused(
                f"{what}: it needs more than the free {of}. Free some space, or make it smaller"
            )


# Copying


def copy(source: int, target: int, gid: int, room: Room, what: str, within: Sequence[int] = ()) -> list[str]:
    """Copy the files of the open directory *source* into *target*: root's, for *gid* to read; nothing else of it.

    A link is followed to a file in *source*, and to a file of its own name in one of the sealed trees *within*, as
    `collectstatic --link` makes them. Any other could show the world a file of the code by accident. Returns the paths of
    the links that were left out. Raises ReleaseError.
    """
    left_out: list[str] = []
    with Mirror(target, gid) as mirror:
        for entry in walk(source, what):
            kind = entry.status.st_mode
            try:
                if stat.S_ISDIR(kind):
                    room.take(0, what, inodes=1)
                    mirror.make(entry)
                elif stat.S_ISREG(kind):
                    descriptor = os.open(entry.name, FILE, dir_fd=entry.directory)
                    try:
                        copy_file(descriptor, mirror.directory(entry), entry.name, gid, room, what)
                    finally:
                        os.close(descriptor)
                elif stat.S_ISLNK(kind):
                    linked = _linked_file(entry, source, within)
                    if linked is None:
                        left_out.append(entry.path)
                        continue
                    try:
                        copy_file(linked, mirror.directory(entry), entry.name, gid, room, what)
                    finally:
                        os.close(linked)
            except OSError as error:
                raise ReleaseError(f"{printable(f'{what}/{entry.path}')}: {error.strerror}") from error
    return left_out


def _linked_file(entry: Entry, source: int, within: Sequence[int]) -> int | None:
    """The file that the link *entry* leads to, opened, where that is one that `copy` follows a link to."""
    for top in (source, *within):
        with contextlib.suppress(OSError, ReleaseError):
            descriptor = inside(top, entry.name, entry.directory)
            name = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
            descriptor = readable(descriptor)
            if stat.S_ISREG(os.fstat(descriptor).st_mode) and (top == source or name == entry.name):
                return descriptor
            os.close(descriptor)
    return None


def copy_file(source: int, directory: int, name: str, gid: int, room: Room, what: str) -> None:
    """Copy the open file *source* to *name* in the open *directory*, with its holes.

    A file that is there gives way, a link does not. Its time comes from its content, because web servers make an ETag of
    time and size: it differs where the content does, and is the same in each release and on each host. The time of
    *source* cannot do that: archives have 0, and a checkout its own. Raises ReleaseError and OSError.
    """
    status = os.fstat(source)
    if not stat.S_ISREG(status.st_mode):
        return
    room.take(0, what, inodes=1)
    target = _new_file(directory, name)
    try:
        os.fchown(target, -1, gid)
        os.fchmod(target, 0o750 if status.st_mode & 0o100 else 0o640)
        position, digest = 0, hashlib.sha256()
        # By its size now: one that a process still writes to would never end.
        while (part := _data(source, position, status)) is not None:
            position, end = part
            digest.update(b"%d " % position)
            while position < end:
                data = os.pread(source, min(end - position, 1 << 20), position)
                if not data:
                    return
                count = os.pwrite(target, data, position)
                digest.update(data[:count])
                room.take(count, what)
                position += count
        os.ftruncate(target, status.st_size)
        seconds = int.from_bytes(digest.digest()[:4], "big") % LATEST
        os.utime(target, (seconds, seconds))
    finally:
        os.close(target)


def _data(source: int, position: int, status: os.stat_result) -> tuple[int, int] | None:
    """From where to where the next bytes lie that are no hole; None at the end."""
    if position >= status.st_size:
        return None
    if status.st_blocks * 512 >= status.st_size:
        return position, status.st_size
    try:
        begin = os.lseek(source, position, os.SEEK_DATA)
    except OSError:
        # Nothing but a hole is left.
        return None
    return begin, min(os.lseek(source, begin, os.SEEK_HOLE), status.st_size)


def _new_file(directory: int, name: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, 0o600, dir_fd=directory)
    except FileExistsError:
        if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            raise
        os.unlink(name, dir_fd=directory)
        return os.open(name, flags, 0o600, dir_fd=directory)
