"""Tell whether the migrations of two releases are the same."""

from __future__ import annotations

import hashlib
import os
import stat

from ..files.reading import digest, inside, readable
from ..files.trees import Entry, opened, walk
from ..host.release_error import ReleaseError

#: Bytes of one migration that count; of a larger one these, and its size.
MOST_OF_ONE = 4 << 20

#: Bytes of all migrations that count; of what comes after them in the order of names, the sizes.
MOST_OF_ALL = 64 << 20


def migrations_digest(code: str) -> str:
    """A digest of the migration files (Django's `migrations/`, Alembic's `versions/`): it changes when a migration comes.

    A link counts as the file of the code that it leads to; one that leads nowhere does not count. Raises ReleaseError.
    """
    made, left = hashlib.sha256(), MOST_OF_ALL
    with opened(code) as top:
        for entry in walk(top, "code"):
            place = os.path.basename(os.path.dirname(entry.path))
            if place not in ("migrations", "versions") or not entry.name.endswith((".py", ".sql")):
                continue
            content, read = _digest(top, entry, min(left, MOST_OF_ONE))
            if content:
                left -= read
                made.update(os.fsencode(entry.path) + b"\0" + content)
    return made.hexdigest()[:16]


def _digest(top: int, entry: Entry, most: int) -> tuple[bytes, int]:
    """The digest of a migration, and how many bytes were read for it; none where *entry* is no file of the code."""
    kind = entry.status.st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISLNK(kind)):
        return b"", 0
    try:
        descriptor = readable(inside(top, entry.name, entry.directory))
    except (OSError, ReleaseError):
        return b"", 0
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b"", 0
        return digest(descriptor, most)
    finally:
        os.close(descriptor)
