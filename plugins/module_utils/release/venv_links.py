"""Give a release the venv of an earlier one, by hard links: the exact requirements of both are the same."""

from __future__ import annotations

import contextlib
import os
import stat

from ..files.copies import Mirror, made_directory
from ..files.trees import FILE, Entry, opened, walk

#: What a venv holds, in the release's directory: the versions that the next Python gets.
LOCK = "requirements.lock"

#: Bytes of a file of a venv that may hold the venv's path; larger ones are programs.
LARGEST_SCRIPT = 1 << 20


def link_venv(old: str, new: str, gid: int) -> None:
    """Give release directory *new* the venv and the lock of *old*: by hard links to files that are root's and never change.

    Files that hold the venv's own path are written anew. All of it is root's and *gid*'s, as it is in *old*.
    Raises ReleaseError.
    """
    with contextlib.ExitStack() as stack:
        source, target = (stack.enter_context(opened(place)) for place in (old, new))
        os.close(made_directory(target, "venv", gid))
        mirror = stack.enter_context(Mirror(stack.enter_context(opened(f"{new}/venv")), gid))
        for entry in walk(stack.enter_context(opened(f"{old}/venv")), "venv"):
            kind, directory = entry.status.st_mode, mirror.directory(entry)
            if stat.S_ISDIR(kind):
                mirror.make(entry)
            elif stat.S_ISLNK(kind):
                os.symlink(os.readlink(entry.name, dir_fd=entry.directory), entry.name, dir_fd=directory)
                os.chown(entry.name, -1, gid, dir_fd=directory, follow_symlinks=False)
            elif stat.S_ISREG(kind) and _may_hold_path(entry):
                _copy_with_path(entry, directory, gid, f"{old}/venv".encode(), f"{new}/venv".encode())
            elif stat.S_ISREG(kind):
                _link(entry.name, entry.directory, directory)
        with contextlib.suppress(FileNotFoundError):
            _link(LOCK, source, target)


def _link(name: str, source: int, target: int) -> None:
    os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)


def _may_hold_path(entry: Entry) -> bool:
    """Whether a file of a venv is a script or a setting, which name the venv that they are of."""
    in_bin = entry.path == f"bin/{entry.name}"
    return (in_bin or entry.name.endswith((".pth", ".cfg"))) and entry.status.st_size <= LARGEST_SCRIPT


def _copy_with_path(entry: Entry, directory: int, gid: int, old: bytes, new: bytes) -> None:
    with open(os.open(entry.name, FILE, dir_fd=entry.directory), "rb") as file:
        content = file.read(LARGEST_SCRIPT)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(entry.name, flags, 0o600, dir_fd=directory), "wb") as file:
        os.fchown(file.fileno(), -1, gid)
        os.fchmod(file.fileno(), stat.S_IMODE(entry.status.st_mode))
        file.write(content.replace(old, new))
        file.flush()
        os.utime(file.fileno(), ns=(entry.status.st_atime_ns, entry.status.st_mtime_ns))
