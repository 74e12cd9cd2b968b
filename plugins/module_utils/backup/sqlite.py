"""Whole copies of SQLite databases under writes, made by SQLite itself and as the app's user."""

from __future__ import annotations

import os
import time

from ..host import layout
from ..host.command import CommandFailed, TimedOut
from ..host.release_error import ReleaseError
from ..systemd.app_process import run_as

#: Tries of one copy: a database may be locked for long, or its app may be changing it in a way that fails a copy.
TRIES = 5
#: Seconds for all databases of an app, which may lock them for as long as it likes: other apps wait for their turn.
PATIENCE = 3600

#: Run as the app's user, by the system's Python: the database and all around it are the app's.
COPY = """
import os, sqlite3, sys
source, target = sys.argv[1:]
for left in (target, target + "-journal", target + "-wal", target + "-shm"):
    if os.path.lexists(left):
        os.unlink(left)
os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
quoted = source.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
# By its own name, beside which SQLite finds its journals: under another, as of a hard link, it would read half of the data.
there = sqlite3.connect("file:" + quoted + "?mode=rw", uri=True, timeout=60)
copy = sqlite3.connect(target)
# All pages at once: in steps, each write to the source would begin the copy again.
there.backup(copy, pages=-1)
mode = there.execute("pragma journal_mode").fetchone()[0]
there.close()
copy.execute("pragma journal_mode=delete")
said = [row[0] for row in copy.execute("pragma integrity_check(3)")]
if said != ["ok"]:
    sys.exit("the copy is not whole: " + "; ".join(map(str, said)))
if mode == "wal":
    # As the app has it: many set that once, when they create the database.
    copy.execute("pragma journal_mode=wal")
copy.close()
"""


def directory(app: str) -> str:
    """Where copies of the databases of *app* are made; the app's own."""
    return f"{layout.cache(app)}/backup"


def copy(app: str, path: str, number: int, end: float) -> str:
    """Copy the database at *path* of `shared` of *app*; return the name of the copy in `directory`.

    *end*: until when, by the monotonic clock. Raises CommandFailed, and ReleaseError where no time is left.
    """
    target = f"{directory(app)}/{number}.sqlite"
    source = f"{layout.shared(app)}/{path}"
    for left in range(TRIES - 1, -1, -1):
        seconds = end - time.monotonic()
        if seconds <= 0:
            raise ReleaseError(f"its SQLite databases take more than {PATIENCE} s to copy, {path} is left")
        try:
            run_as(
                app,
                ["/usr/bin/python3", "-I", "-c", COPY, source, target],
                what=f"copying database {path} of {app}",
                shown_as=f"python3 (copy) {path}",
                timeout=seconds,
            )
            break
        except TimedOut:
            raise
        except CommandFailed:
            if not left:
                raise
    return os.path.basename(target)


def clear(app: str) -> None:
    """Delete the copies, as the app's user: they are in a directory of its own. Raises CommandFailed."""
    run_as(
        app,
        ["rm", "--recursive", "--force", "--", directory(app)],
        what=f"deleting copies of {app}",
        timeout=600,
    )
