"""The files of an app as a backup takes them: a tree of hard links that the app cannot change.

restic goes by paths. In directories of an app's own, the app could put a link to another app's files in the place of a
directory that restic is about to enter, and would get those files with its next restore. So restic gets a tree in a
directory that only root enters: each directory of the app is opened from the one above it and through no link, and
regular files that belong to the app are linked into the tree. That takes no space, and no time to copy.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..files.trees import DEEPEST, DIRECTORY, FILE, MOST_ENTRIES
from ..host.release_error import ReleaseError

#: With what a database file of SQLite begins, and the ends of the names of what belongs to it.
SQLITE = b"SQLite format 3\0"
BESIDE = ("-wal", "-shm", "-journal")


@dataclass
class Tree:
    """What was linked, of the files of a user."""

    uid: int
    #: Bytes that all files may have: a file with holes can be larger than any disk, and restic reads all of it.
    room: int
    files: int = 0
    bytes: int = 0
    #: Paths of databases, which must not be copied as files.
    databases: list[str] = field(default_factory=list)
    #: Paths of what is neither a file of the user's, a directory nor a link.
    left_out: list[str] = field(default_factory=list)
    left: int = MOST_ENTRIES

    def link(self, source: int, target: int) -> None:
        """Link what is in the open directory *source* into the open directory *target*, at every depth.

        A file that is deleted meanwhile is left out. Raises ReleaseError for a tree that is too large, and OSError.
        """
        self._directory(source, target, "", 0)

    def _directory(self, source: int, target: int, path: str, depth: int) -> None:
        if depth > DEEPEST:
            raise ReleaseError(f"{path} lies more than {DEEPEST} directories deep")
        names = sorted(os.listdir(source))
        self.left -= len(names)
        if self.left < 0:
            raise ReleaseError(f"there are more than {MOST_ENTRIES} files and directories")
        databases = {name for name in names if self._is_database(source, name)}
        beside = {f"{name}{end}" for name in databases for end in BESIDE}
        for name in names:
            if name in databases:
                self.databases.append(path + name)
            elif name not in beside:
                # It may have been deleted meanwhile.
                with contextlib.suppress(FileNotFoundError):
                    self._entry(source, target, name, path, depth)

    def _is_database(self, directory: int, name: str) -> bool:
        """Whether *name* is a database of SQLite.

        A process that closes a file loses all locks that it has on that file (POSIX). So a process that uses this class has
        no connection to a database of an app: without locks, it and the app would destroy the database.
        """
        with contextlib.suppress(OSError):
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode) or status.st_size < len(SQLITE):
                return False
            descriptor = os.open(name, FILE, dir_fd=directory)
            try:
                return os.read(descriptor, len(SQLITE)) == SQLITE
            finally:
                os.close(descriptor)
        return False

    def _entry(self, source: int, target: int, name: str, path: str, depth: int) -> None:
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            with entered(source, name) as inner, made(target, name, status) as copy:
                self._directory(inner, copy, f"{path}{name}/", depth + 1)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        elif stat.S_ISREG(status.st_mode) and status.st_uid == self.uid:
            os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
            linked = os.stat(name, dir_fd=target, follow_symlinks=False)
            # The name may have become another file's meanwhile.
            if not stat.S_ISREG(linked.st_mode) or linked.st_uid != self.uid:
                os.unlink(name, dir_fd=target)
                self.left_out.append(path + name)
            else:
                self.files += 1
                self.bytes += linked.st_size
                self.room -= linked.st_size
                if self.room < 0:
                    raise ReleaseError(
                        f"its files say that they are larger than the disk, {path}{name} with {linked.st_size} bytes: "
                        "it has holes, or others before it have"
                    )
        else:
            self.left_out.append(path + name)


@contextlib.contextmanager
def entered(directory: int, name: str) -> Iterator[int]:
    descriptor = os.open(name, DIRECTORY, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def made(directory: int, name: str, like: os.stat_result) -> Iterator[int]:
    """A new directory of root's in *directory*, with the mode and the times of another."""
    os.mkdir(name, 0o700, dir_fd=directory)
    with entered(directory, name) as descriptor:
        yield descriptor
        os.fchmod(descriptor, stat.S_IMODE(like.st_mode) & 0o777)
        os.utime(descriptor, ns=(like.st_atime_ns, like.st_mtime_ns))
