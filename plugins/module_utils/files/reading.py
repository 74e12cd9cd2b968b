"""Read files of an app's tree as root: none through a link that leads out of it, none without a bound, nothing but files."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator

from ..host.release_error import ReleaseError
from .trees import opened, printable

#: Bytes of a text that is read whole, such as a list of requirements with all its hashes.
LARGEST_TEXT = 8 << 20


def inside(top: int, name: str, directory: int | None = None) -> int:
    """An O_PATH descriptor of what *name* leads to from *directory* (else from *top*), which must lie in the tree *top*.

    Links are followed, and where they led is looked at, not where they say they lead. Raises OSError, and ReleaseError for
    one that leads out.
    """
    descriptor = os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=top if directory is None else directory)
    try:
        place, root = (os.readlink(f"/proc/self/fd/{one}") for one in (descriptor, top))
        if place != root and not place.startswith(f"{root}/"):
            raise ReleaseError(f"{printable(name)} is a link that leads out of the source")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def readable(descriptor: int) -> int:
    """A descriptor to read what *descriptor*, which `inside` gave, stands for: a directory or a regular file, nothing else.

    Closes *descriptor*. Raises IsADirectoryError for neither of both.
    """
    try:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(kind):
            return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=descriptor)
        if not stat.S_ISREG(kind):
            raise IsADirectoryError("neither a file nor a directory")
        return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(descriptor)


def is_directory(top: str, name: str) -> bool:
    """Whether *name* leads to a directory in the tree *top*."""
    try:
        with opened(top) as directory:
            descriptor = readable(inside(directory, name))
    except (OSError, ReleaseError):
        return False
    try:
        return stat.S_ISDIR(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


def text(top: str, name: str) -> str | None:
    """The UTF-8 text of file *name* in the tree *top*, which may be a link inside of that; None where there is no file.

    Raises ReleaseError for one that is too large or in another encoding.
    """
    with opened(top) as directory:
        try:
            descriptor = readable(inside(directory, name))
        except OSError:
            return None
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, descriptor)
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                return None
            content = b"".join(_pieces(descriptor, LARGEST_TEXT + 1))
    shown = printable(name)
    if len(content) > LARGEST_TEXT:
        raise ReleaseError(f"{shown} is larger than {LARGEST_TEXT >> 20} MiB, too large for such a file")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ReleaseError(f"{shown} is UTF-16: save it as UTF-8")
    try:
        # Lines end as they do for Python's own files.
        return content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ReleaseError(
            f"{shown} is not UTF-8 (byte {content[error.start]:#04x} in line {line}): save it as UTF-8"
        ) from None


def _pieces(descriptor: int, most: int) -> Iterator[bytes]:
    """Up to *most* bytes from where the open file *descriptor* stands."""
    while most > 0 and (piece := os.read(descriptor, min(most, 1 << 20))):
        most -= len(piece)
        yield piece


def digest(descriptor: int, most: int) -> tuple[bytes, int]:
    """The SHA-256 of an open file, and how many bytes were read for it.

    Of one that is larger than *most* its size and its first part count.
    """
    size = os.fstat(descriptor).st_size
    made, read = hashlib.sha256(), 0
    if size > most:
        made.update(f"{size}\0".encode())
    for piece in _pieces(descriptor, min(size, most)):
        made.update(piece)
        read += len(piece)
    return made.digest(), read
