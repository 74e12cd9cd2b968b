"""Files and links that are replaced as a whole: other processes, and a run after a crash, see the old or the new one."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from collections.abc import Iterator
from typing import IO

#: The end of a name that a file has while it is written.
_MARK = re.compile(r"\.new-([0-9]+)\Z")

#: Of linux/fcntl.h and linux/fs.h, for renameat2(2).
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def write_atomically(path: str, content: str, mode: int = 0o600, gid: int = -1) -> None:
    """Replace *path* by a file with *content*; other processes see the old or the new one, never a part."""
    with replacing(path, mode, gid) as file:
        file.write(content.encode())


@contextlib.contextmanager
def replacing(path: str, mode: int = 0o600, gid: int = -1) -> Iterator[IO[bytes]]:
    """A file that takes the place of *path* at the end of the block; its `name` is where it is until then."""
    with _temporary(path) as temporary:
        with new_file(temporary, mode, 0 if os.geteuid() == 0 else -1, gid) as file:
            yield file
        os.rename(temporary, path)
    sync_directory(os.path.dirname(path))


@contextlib.contextmanager
def new_file(path: str, mode: int, uid: int = -1, gid: int = -1) -> Iterator[IO[bytes]]:
    """A new file at *path*, where there is none, which is on disk at the end of the block.

    It has its owner and its mode before it has any content: nobody else can read that even for a moment.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(path, "wb", opener=lambda name, _: os.open(name, flags, 0o600)) as file:
        os.fchown(file.fileno(), uid, gid)
        os.fchmod(file.fileno(), mode)
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _temporary(path: str) -> Iterator[str]:
    """A free name beside *path*. Where the block fails nothing is left there: a full disk must not fill up further."""
    temporary = f"{path}.new-{os.getpid()}"
    # That of a process which died and had the same number.
    forget(temporary)
    try:
        yield temporary
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def remove_half_written(directory: str, pattern: str = ".+") -> None:
    """Remove what writers that were killed left in *directory*, where nobody but root may write.

    Only of files whose whole name with the mark of `_temporary` matches *pattern*; a writer that still runs keeps its own.
    """
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory):
            mark = _MARK.search(name)
            if mark and re.fullmatch(pattern, name) and not os.path.exists(f"/proc/{mark[1]}"):
                forget(os.path.join(directory, name))


def exchange(one: str, other: str) -> None:
    """Let two paths change places in one step. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), one)


def forget(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_atomically(target: str, path: str, uid: int = -1, gid: int = -1) -> None:
    """Make *path* a symlink to *target*, replacing what it was in one rename."""
    with _temporary(path) as temporary:
        os.symlink(target, temporary)
        os.chown(temporary, uid, gid, follow_symlinks=False)
        os.rename(temporary, path)
    sync_directory(os.path.dirname(path))
