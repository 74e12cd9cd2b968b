"""Directories in places that an app may write to, made and corrected by root without following anything.

The threat: root acts by a path, and a part of the path belongs to an app. Between root's look and root's act the app puts a
link there, and `chown`, `chmod`, `mkdir` or `open` reach what the link leads to: any directory of the host is given away. To
look once more, or right before, only makes it rarer; an app that swaps two names in a loop wins in the end.

So a path is walked from `top`, a directory that only root can change, name by name: each directory is opened relative to the
one before it, as a directory and through no link (O_NOFOLLOW); owner and mode are changed at what was opened, and at nothing
that has a name. What an app can still do is to put another directory of its own there, which it could have given away
itself. Whatever root does below a directory of an app's goes through here, or is done as the app's user.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Misplaced(Exception):
    """Something at a path is in the way, or nothing can be made there. The message says what, and what to do."""


@contextlib.contextmanager
def opened(top: str, path: str) -> Iterator[int]:
    """A descriptor of directory *path*, which is *top* or lies below it. *top* and all above it are root's own.

    Raises FileNotFoundError where there is none, Misplaced where a part of the path is a link or no directory.
    """
    descriptor = os.open(top, _DIRECTORY)
    try:
        place = top
        for name in _names_below(top, path):
            place = f"{place}/{name}"
            below = _entered(descriptor, name, place)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def ensure_directory(
    top: str, path: str, uid: int, gid: int, mode: int, check_mode: bool = False
) -> str | None:
    """Let *path*, which lies below *top*, be a directory of *uid*:*gid* with *mode*. What is above it exists.

    Returns what was done, None where it was so. Raises Misplaced.
    """
    parent, name = os.path.split(path)
    try:
        with opened(top, parent) as above:
            return _ensure_in(above, name, path, (uid, gid, mode), check_mode)
    except FileNotFoundError as error:
        if check_mode:
            return f"{path}: created"
        raise Misplaced(f"{parent} is not there") from error
    except OSError as error:
        fix = "Put that right"
        if error.errno in _FULL:
            fix = "Its disk or quota is full: free some space, or raise the quota"
        raise Misplaced(f"{path} cannot be created or corrected: {error.strerror}. {fix}") from error


def _names_below(top: str, path: str) -> list[str]:
    """The names that lead from *top* to *path*. Raises ValueError where they do not lead down."""
    names = [] if path == top else path.removeprefix(f"{top}/").split("/")
    if (path != top and not path.startswith(f"{top}/")) or any(name in ("", ".", "..") for name in names):
        raise ValueError(f"{path} does not lie below {top}")
    return names


def _entered(parent: int, name: str, place: str) -> int:
    """A descriptor of directory *name* in *parent*; *place* is its path, for messages."""
    try:
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise Misplaced(_in_the_way(parent, name, place)) from error
        raise


def _in_the_way(parent: int, name: str, place: str) -> str:
    kind = "no directory"
    with contextlib.suppress(OSError):
        status = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        kind = "a link" if stat.S_ISLNK(status) else "a file" if stat.S_ISREG(status) else "no directory"
    return (
        f"{place} is {kind}, but must be a directory. It was not followed, and nothing was changed. Move "
        f"it away (mv --no-target-directory {place} …)"
    )


def _ensure_in(
    parent: int, name: str, path: str, wanted: tuple[int, int, int], check_mode: bool
) -> str | None:
    """Let directory *name* in *parent* have owner, group and mode as *wanted*; see `ensure_directory`."""
    done = None
    try:
        descriptor = _entered(parent, name, path)
    except FileNotFoundError:
        done = f"{path}: created"
        if check_mode:
            return done
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
        descriptor = _entered(parent, name, path)
    try:
        status = os.fstat(descriptor)
        if (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == wanted:
            return done
        _refuse_roots_own(parent, descriptor, path, wanted[0])
        if not check_mode:
            os.fchown(descriptor, wanted[0], wanted[1])
            # After the owner, whose change takes setgid away.
            os.fchmod(descriptor, wanted[2])
        return done or f"{path}: owner or mode corrected"
    finally:
        os.close(descriptor)


def _refuse_roots_own(parent: int, descriptor: int, path: str, uid: int) -> None:
    """Raise Misplaced where root's directory would be given to *uid* with what is in it, by a name that *uid* may change.

    An empty one is what a run that died left behind.
    """
    if os.fstat(parent).st_uid == 0 or uid == 0 or os.fstat(descriptor).st_uid != 0:
        return
    with os.scandir(descriptor) as entries:
        if next(entries, None) is not None:
            raise Misplaced(
                f"{path} is a non-empty directory owned by root, in a place that belongs to the app. It "
                "was not given to the app. Move it away"
            )
