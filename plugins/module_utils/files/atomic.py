"""Files and links that are replaced as a whole: other processes, and a run after a crash, see the old or the new one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


def write_atomically(path: str, content: str, mode: int = 0o600, gid: int = -1) -> None:
    """Replace *path* by a file with *content*; other processes see the old or the new one, never a part."""
    temporary = f"{path}.new-{os.getpid()}"
    with _removed_on_failure(temporary):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchown(file.fileno(), 0 if os.geteuid() == 0 else -1, gid)
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    sync_directory(os.path.dirname(path))


@contextlib.contextmanager
def _removed_on_failure(temporary: str) -> Iterator[None]:
    """A full disk must not fill up further with what could not be written."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_atomically(target: str, path: str, uid: int = -1, gid: int = -1) -> None:
    """Make *path* a symlink to *target*, replacing what it was in one rename."""
    temporary = f"{path}.new-{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    with _removed_on_failure(temporary):
        os.symlink(target, temporary)
        os.chown(temporary, uid, gid, follow_symlinks=False)
        os.rename(temporary, path)
    sync_directory(os.path.dirname(path))
