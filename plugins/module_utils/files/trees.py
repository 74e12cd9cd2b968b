"""Trees of files that an app's repository, build or processes made, as root may touch them: walk, seal, read, delete.

All of it is untrusted. Nothing is followed: each directory is opened from the one above it, never by a path, so that no
link which is put into the way meanwhile leads anywhere. Nothing recurses, and nothing is read or listed without a bound.
Names may be any that the file system holds; those that are no UTF-8 come through, and messages show them escaped.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ..host.command import CommandFailed, run
from ..host.release_error import ReleaseError

#: Directories inside of each other. What people deploy has a dozen, the deepest `node_modules` some forty; each is a
#: descriptor while the tree is walked, and of those a process has 1,024.
DEEPEST = 100

#: Files and directories of one tree: fifty large venvs. Root holds the names of one directory at a time.
MOST_ENTRIES = 500_000

#: Characters of a path in a message.
SHOWN = 120

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Opening a FIFO waits for nobody then. Devices are never opened: that alone may do something.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class TreeRefused(ReleaseError):
    """The tree itself is what no release may have."""


class Entry(NamedTuple):
    """Something in a tree: *name* in the open *directory*, *path* from the top of the tree."""

    directory: int
    name: str
    path: str
    status: os.stat_result


def printable(path: str) -> str:
    """*path* as a message may show it: bytes that are no UTF-8 and control characters escaped, its middle left out."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    text = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]}…{text[-SHOWN // 2 :]}"


@contextlib.contextmanager
def opened(path: str) -> Iterator[int]:
    """A descriptor of the directory *path*, which is root's own up to its last name and no link there. Raises OSError."""
    descriptor = os.open(path, DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def temporary(prefix: str, directory: str) -> Iterator[str]:
    """A directory of root's in *directory*, deleted at the end however deep what was put into it is."""
    path = tempfile.mkdtemp(prefix=prefix, dir=directory)
    try:
        yield path
    finally:
        remove(path)


# Walking


def walk(top: int, what: str) -> Iterator[Entry]:
    """Every entry below the open directory *top*, sorted, all of a directory before what is in its directories.

    A directory is listed after its entry was taken, so that it can be sealed before. *what* names the tree in messages.
    Raises TreeRefused for one that is too deep or has too many entries, ReleaseError where it changes meanwhile.
    """
    left = MOST_ENTRIES
    path, entered = "", os.open(".", DIRECTORY, dir_fd=top)
    #: Each open directory with its path and those of its directories that are still to be entered.
    frames: list[tuple[int, str, list[str]]] = []
    try:
        while True:
            inner: list[str] = []
            frames.append((entered, path, inner))
            names = _names(entered, left, f"{what}/{path}")
            left -= len(names)
            for name in names:
                try:
                    status = os.stat(name, dir_fd=entered, follow_symlinks=False)
                except OSError as error:
                    raise changed(f"{what}/{path}{name}", error) from error
                yield Entry(entered, name, path + name, status)
                if stat.S_ISDIR(status.st_mode):
                    inner.append(name)
            inner.reverse()
            while frames and not frames[-1][2]:
                os.close(frames.pop()[0])
            if not frames:
                return
            above, path, waiting = frames[-1]
            path += f"{waiting[-1]}/"
            if len(frames) > DEEPEST:
                raise TreeRefused(
                    f"{printable(f'{what}/{path}')} lies more than {DEEPEST} directories deep. Correct "
                    "its origin: the source, its requirements, or a command of `build:`"
                )
            try:
                entered = os.open(waiting.pop(), DIRECTORY, dir_fd=above)
            except OSError as error:
                raise changed(f"{what}/{path}", error) from error
    finally:
        for frame in frames:
            os.close(frame[0])


def _names(directory: int, most: int, place: str) -> list[str]:
    """The sorted names in an open directory, of which there may be *most*. Raises TreeRefused."""
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in itertools.islice(entries, most + 1)]
    except OSError as error:
        raise changed(place, error) from error
    if len(names) > most:
        raise TreeRefused(
            f"the tree exceeds {MOST_ENTRIES} files and directories at {printable(place)}. Correct their "
            "origin: the source, its requirements, or a command of `build:`"
        )
    return sorted(names)


def changed(place: str, error: OSError) -> ReleaseError:
    """What is raised for an *error* in the middle of a tree."""
    return ReleaseError(f"{printable(place)}: {error.strerror}. A process of the app may be changing it")


# Sealing


def own(top: str, uid: int, gid: int, app: int, what: str) -> None:
    """Give the tree at *top* to uid:gid, closed to others: 0750 what can be run or entered, 0640 the rest, no further bits.

    What changes hands is the app's (user id *app*), or where the app is given a tree, what root put there: a hard link to
    somebody else's file is refused, and so is a device. Links are given themselves, never what they point at; FIFOs and
    sockets stay as they are otherwise, since nobody but the app reaches them. Raises ReleaseError.
    """
    owner = _Owner(uid, gid, app)
    with opened(top) as directory:
        owner.take(directory, what)
        for entry in walk(directory, what):
            place = f"{what}/{entry.path}"
            kind = entry.status.st_mode
            if stat.S_ISDIR(kind) or stat.S_ISREG(kind):
                try:
                    descriptor = os.open(entry.name, FILE, dir_fd=entry.directory)
                except OSError as error:
                    raise changed(place, error) from error
                try:
                    owner.take(descriptor, place)
                finally:
                    os.close(descriptor)
            elif stat.S_ISCHR(kind) or stat.S_ISBLK(kind):
                raise TreeRefused(f"{printable(place)} is a device. Remove it")
            elif uid != app and entry.status.st_uid != uid:
                # Its directory is sealed: nothing else can have taken its place.
                owner.check(entry.status, place)
                os.chown(entry.name, uid, gid, dir_fd=entry.directory, follow_symlinks=False)


@dataclass(frozen=True)
class _Owner:
    """Whom a tree goes to, and whose it was."""

    uid: int
    gid: int
    app: int
    #: Files with several names that have been taken by one of them.
    taken: set[tuple[int, int]] = field(default_factory=set)

    def take(self, descriptor: int, place: str) -> None:
        """Give an open file or directory. Raises TreeRefused."""
        status = os.fstat(descriptor)
        if not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
            raise TreeRefused(f"{printable(place)} was replaced while it was read")
        self.check(status, place)
        if status.st_nlink > 1 and stat.S_ISREG(status.st_mode):
            self.taken.add((status.st_dev, status.st_ino))
        if (status.st_uid, status.st_gid) != (self.uid, self.gid):
            os.fchown(descriptor, self.uid, self.gid)
        wanted = 0o750 if stat.S_ISDIR(status.st_mode) or status.st_mode & 0o100 else 0o640
        if stat.S_IMODE(status.st_mode) != wanted:
            os.fchmod(descriptor, wanted)

    def check(self, status: os.stat_result, place: str) -> None:
        """Raises TreeRefused where root would give away what the app does not own."""
        if status.st_uid == self.app or (status.st_dev, status.st_ino) in self.taken:
            return
        alone = status.st_nlink == 1 or stat.S_ISDIR(status.st_mode)
        # A checkout that root made is given to the app; a link by which the app brings in a file of root's is not.
        if not (status.st_uid == 0 and self.uid == self.app and alone):
            raise TreeRefused(
                f"{printable(place)} belongs to user id {status.st_uid}, not to the app: a release must "
                "not contain a hard link to somebody else's file. Remove it"
            )


# Deleting, and what is on disk


def remove(*paths: str) -> None:
    """Delete *paths* with all that is in them, however deep: no link is followed, and no other file system is entered.

    Raises ReleaseError that says what is left. By `rm`, which opens directories from those above them: its paths may be
    longer than the kernel takes, and its stack does not grow with them.
    """
    if not paths:
        return
    try:
        run(
            ["rm", "--recursive", "--force", "--one-file-system", "--", *paths],
            what="deleting files",
            timeout=3600,
        )
    except CommandFailed as error:
        raise ReleaseError(
            f"not all of {', '.join(printable(path) for path in paths)} could be deleted; the next run tries again. "
            f"{error.output}"
        ) from error


def sync(path: str) -> None:
    """Return when all that was written to the file system of directory *path* is on its disk. Raises ReleaseError."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if libc.syncfs(descriptor) != 0:
            reason = os.strerror(ctypes.get_errno())
            raise ReleaseError(f"data written to {path} did not reach its disk: {reason}. Check that disk")
    finally:
        os.close(descriptor)
