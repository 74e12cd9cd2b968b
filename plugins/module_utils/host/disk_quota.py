"""`limits.disk`: how much an app may have on the disk, by the project quotas of ext4 and xfs.

A project is a number that files carry; a directory with the inherit flag hands it on to what is made in it. All that an
app's user may write carries the user's id as its project, and the kernel refuses what passes the limit. What root alone
writes about the app (lock, history, manifests, links) is none of it: xfs holds root to the limit too, and an app that has
filled its disk must still be rolled back. Sources: quotactl(2), ioctl_xfs_fsgetxattr(2), include/uapi/linux/{fs,quota}.h.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import fcntl
import os
import pwd
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from . import layout, sizing

#: Below this an app's files are few enough to be counted by the file system's smallest unit; see `Limit.inodes`.
BYTES_PER_INODE = 8192
LEAST_INODES = 20_000

#: The flags of a mount (in its line of /proc/self/mountinfo) by which ext4 and xfs say that project quotas are on.
MOUNT_OPTIONS = ("prjquota", "pquota")

MOUNTS = "/proc/self/mountinfo"

_FSGETXATTR, _FSSETXATTR = 0x801C581F, 0x401C5820
_PROJECT_INHERIT = 0x200
_FSXATTR = struct.Struct("=IIIII8x")

_PROJECT_QUOTA = 2
_GET_QUOTA, _SET_QUOTA = 0x800007, 0x800008
#: struct if_dqblk: hard and soft limit in KiB, bytes used; hard and soft limit of inodes, inodes used; two times; which are
#: set.
_DQBLK = struct.Struct("=8QI4x")
_LIMITS_ARE_SET = 1 | 4
#: quotactl_fd(2), which Linux has on all of its architectures by this number since 5.14.
_QUOTACTL_FD = 443


class Unsupported(Exception):
    """The file system of the apps has no project quotas. The message says what to do."""


@dataclass(frozen=True)
class Usage:
    """What a project has, and may have: bytes, and inodes. A limit of 0 is none."""

    size: int
    limit: int
    inodes: int
    inode_limit: int


@dataclass(frozen=True)
class Limit:
    """What an app may have, in bytes."""

    size: int

    @property
    def inodes(self) -> int:
        """Files and directories: enough for what fits, too few to use up those of the file system by empty files."""
        return max(LEAST_INODES, self.size // BYTES_PER_INODE)

    @classmethod
    def of(cls, text: str) -> Limit:
        """Of `512M` or `2G`."""
        return cls(sizing.in_mib(text) * sizing.MIB)


def has_quotas(path: str, mountinfo: str) -> bool:
    """Whether the file system that holds *path* enforces project quotas, by a text like /proc/self/mountinfo."""
    best, options = "", ""
    for line in mountinfo.splitlines():
        fields = line.split()
        point = fields[4].encode().decode("unicode_escape")
        # The later one of two at the same place lies on top.
        if f"{path}/".startswith(f"{point.rstrip('/')}/") and len(point) >= len(best):
            best, options = point, fields[-1]
    return any(option in MOUNT_OPTIONS for option in options.split(","))


def require() -> None:
    """Raises Unsupported where `layout.APPS` lies on a file system without project quotas."""
    with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
        if has_quotas(os.path.realpath(layout.APPS), file.read()):
            return
    raise Unsupported(
        f"limits.disk needs project quotas, but the file system of {layout.APPS} is mounted without them. "
        "Mount it with the option prjquota (ext4: first run `tune2fs -O project,quota` on the unmounted "
        "device; xfs: at the mount itself, for / by rootflags=pquota), or remove limits.disk"
    )


def usage(project: int) -> Usage | None:
    """What *project* has and may have below `layout.APPS`; None where there are no quotas."""
    try:
        with _opened(layout.APPS) as directory:
            found = _DQBLK.unpack(_quotactl(_GET_QUOTA, directory, project, bytes(_DQBLK.size)))
    except FileNotFoundError:
        # xfs knows no project that has nothing.
        return Usage(0, 0, 0, 0)
    except OSError:
        return None
    return Usage(found[2], found[0] * 1024, found[5], found[3])


def places(app: str) -> list[str]:
    """The directories of *app* that its user may fill: when it runs, or while a release is built."""
    found = [layout.shared(app), layout.cache(app)]
    with contextlib.suppress(FileNotFoundError):
        for release in sorted(os.listdir(layout.releases(app))):
            found += [f"{layout.release(app, release)}/{name}" for name in ("code", "venv")]
    return [path for path in found if os.path.isdir(path) and not os.path.islink(path)]


def ensure(app: str, project: int, limit: Limit | None, check_mode: bool = False) -> list[str]:
    """Let `places` of *app* be of *project*, and hold that to *limit*. Returns what was done, a line each.

    The first time each file is touched once; later ones take after their directory. Raises Unsupported, and OSError.
    """
    if limit is None:
        known = usage(project)
        if known is None or not (known.limit or known.inode_limit):
            return []
        if not check_mode:
            _set_limit(project, 0, 0)
        return [f"{layout.app_root(app)}: disk limit removed"]
    require()
    changes = [
        f"{path}: counted for limits.disk" for path in places(app) if _count(path, project, check_mode)
    ]
    known = usage(project)
    if known is None or (known.limit, known.inode_limit) != (limit.size, limit.inodes):
        changes.append(f"{layout.app_root(app)}: limited to {limit.size // sizing.MIB} MiB")
        if not check_mode:
            _set_limit(project, limit.size, limit.inodes)
    return changes


def count(path: str, project: int) -> None:
    """Let the directory at *path*, whose parent is root's, with all in it be of *project*, where that has a limit.

    An empty directory is best: what is made in it is counted from its first byte. Raises Unsupported and OSError.
    """
    known = usage(project)
    if known is not None and known.limit:
        _count(path, project, check_mode=False)


def forget(project: int) -> None:
    """Take the limit of *project* away: its user goes, and a later one may get the number."""
    known = usage(project)
    if known is not None and known.limit:
        _set_limit(project, 0, 0)


def _count(path: str, project: int, check_mode: bool) -> bool:
    """Let the tree at *path*, whose parent is root's, be of *project*. Returns whether it was not."""
    with _opened(path) as top:
        flags, _, _, before, _ = _attributes(top)
        if before == project and flags & _PROJECT_INHERIT:
            return False
        if not check_mode:
            _mark_below(top, project)
            # Last, so that a run that dies goes on with the next. New files of the top are caught by the second look.
            _mark(top, project)
            _mark_below(top, project)
    return True


def usage_of(app: str) -> Usage | None:
    """What *app* has of its `limits.disk`; None where it has no limit."""
    with contextlib.suppress(KeyError):
        found = usage(pwd.getpwnam(app).pw_uid)
        return found if found is not None and found.limit else None
    return None


def hint(app: str) -> str:
    """What to add to a failure of an app that has used up its disk; empty for any other."""
    found = usage_of(app)
    if found is None:
        return ""
    if found.limit and found.size > 0.95 * found.limit:
        return (
            f"It uses {found.size // sizing.MIB} of the {found.limit // sizing.MIB} MiB of its "
            "limits.disk: raise the limit, or delete data in its persistent directories"
        )
    if found.inode_limit and found.inodes > 0.95 * found.inode_limit:
        return (
            f"It has {found.inodes} files, but its limits.disk allows {found.inode_limit}: raise the "
            "limit, or delete files"
        )
    return ""


def _mark_below(top: int, project: int) -> None:
    """Give all files and directories in *top* to *project*: by descriptors, since the app may swap names meanwhile."""
    ours = os.fstat(top).st_dev
    # Names, not descriptors, of what is still to be done: a tree may be wide.
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        place = waiting.pop()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), _descended(top, place) as directory:
            if os.fstat(directory).st_dev != ours:
                continue
            if place:
                _mark(directory, project)
            for name in os.listdir(directory):
                kind = _kind(name, directory)
                if stat.S_ISDIR(kind):
                    waiting.append((*place, name))
                elif stat.S_ISREG(kind):
                    with contextlib.suppress(FileNotFoundError), _opened(name, directory, 0) as file:
                        _mark(file, project)


def _kind(name: str, directory: int) -> int:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return 0


@contextlib.contextmanager
def _descended(top: int, place: tuple[str, ...]) -> Iterator[int]:
    """The directory at *place* below *top*, reached without following a link. Raises OSError (ELOOP becomes ENOTDIR)."""
    at = os.dup(top)
    try:
        for name in place:
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
        yield at
    finally:
        os.close(at)


@contextlib.contextmanager
def _opened(path: str, directory: int | None = None, kind: int = os.O_DIRECTORY) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | kind, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _attributes(descriptor: int) -> tuple[int, ...]:
    """Flags, extent size, number of extents, project and copy-on-write extent size of a file. Raises Unsupported."""
    buffer = array.array("B", bytes(_FSXATTR.size))
    try:
        fcntl.ioctl(descriptor, _FSGETXATTR, buffer)
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EOPNOTSUPP):
            raise Unsupported(f"limits.disk: the file system of {layout.APPS} has no projects") from error
        raise
    return _FSXATTR.unpack(buffer.tobytes())


def _mark(descriptor: int, project: int) -> None:
    """Let the open file or directory be of *project*; a directory hands it on."""
    flags, size, extents, before, copied = _attributes(descriptor)
    is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
    wanted = flags | (_PROJECT_INHERIT if is_directory else 0)
    if (before, flags) != (project, wanted):
        packed = _FSXATTR.pack(wanted, size, extents, project, copied)
        fcntl.ioctl(descriptor, _FSSETXATTR, packed)


def _set_limit(project: int, size: int, inodes: int) -> None:
    """Bytes and inodes; 0 is no limit. Raises OSError."""
    kib = size // 1024
    packed = _DQBLK.pack(kib, kib, 0, inodes, inodes, 0, 0, 0, _LIMITS_ARE_SET)
    with _opened(layout.APPS) as directory:
        _quotactl(_SET_QUOTA, directory, project, packed)


def _quotactl(command: int, directory: int, project: int, data: bytes) -> bytes:
    """Ask the file system that the open *directory* is on. Returns the structure after the call. Raises OSError."""
    buffer = ctypes.create_string_buffer(data, len(data))
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (
        ctypes.c_long(_QUOTACTL_FD),
        ctypes.c_uint(directory),
        ctypes.c_uint((command << 8) | _PROJECT_QUOTA),
        ctypes.c_uint(project),
        buffer,
    )
    if libc.syscall(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), layout.APPS)
    return buffer.raw
