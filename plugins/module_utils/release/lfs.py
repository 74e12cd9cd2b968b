"""Pointers of Git LFS: small texts in the place of files, which nothing on a host fetches."""

from __future__ import annotations

import os
import stat

from ..files.trees import FILE, Entry, opened, printable, walk
from ..host.release_error import ReleaseError

#: How each begins, and the most that one has (the specification of Git LFS).
_BEGIN = b"version https://git-lfs.github.com/spec/v1\n"
_LARGEST = 1024

#: Pointers that a message names.
_SHOWN = 5


def check_pointers(code: str) -> None:
    """Raises ReleaseError where the sealed *code* has pointers in the place of files."""
    found: list[str] = []
    count = 0
    with opened(code) as top:
        for entry in walk(top, "code"):
            if _is_pointer(entry):
                count += 1
                found += [printable(entry.path)] if len(found) < _SHOWN else []
    if count:
        more = f" and {count - len(found)} more" if count > len(found) else ""
        raise ReleaseError(
            f"{', '.join(found)}{more}: pointers of Git LFS, not the files themselves. Run `git lfs pull` in a checkout and "
            "deploy that (source.path, or an archive of it), store the files without LFS, or fetch them in `build:`"
        )


def _is_pointer(entry: Entry) -> bool:
    if not stat.S_ISREG(entry.status.st_mode) or not len(_BEGIN) < entry.status.st_size <= _LARGEST:
        return False
    try:
        descriptor = os.open(entry.name, FILE, dir_fd=entry.directory)
    except OSError:
        return False
    try:
        return os.read(descriptor, len(_BEGIN)) == _BEGIN
    finally:
        os.close(descriptor)
