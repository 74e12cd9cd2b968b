"""Whole copies of SQLite databases under writes, made by SQLite itself and as the app's user."""

from __future__ import annotations

import os
import time
from typing import IO

from ..host import layout
from ..host.command import CommandFailed, TimedOut
from ..host.release_error import ReleaseError
from ..systemd.app_process import run_as

#: Tries of one copy: a database may be locked for long, or its app may be changing it in a way that fails a copy.
TRIES = 5
#: Seconds for all databases of an app, which may lock them for as long as it likes: other apps wait for their turn.
PATIENCE = 3600

#: Characters of an answer, which is a number.
NUMBER = 100

#: How many rows the tables of a database have. What is no table of SQLite's own may need a module that only the app has.
ROWS = """
def rows(database):
    listed = "select name from sqlite_schema where type = 'table' and sql not like 'create virtual%'"
    names = [name for (name,) in database.execute(listed)]
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    return sum(database.execute("select count(*) from " + name).fetchone()[0] for name in quoted)
"""

#: Run as the app's user, by the system's Python: the database and all around it are the app's.
COPY = (
    ROWS
    + """
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
count = rows(copy)
if mode == "wal":
    # As the app has it: many set that once, when they create the database.
    copy.execute("pragma journal_mode=wal")
copy.close()
print(count)
"""
)

#: The same of a copy that comes by standard input: the rows of a database that is whole.
LOOK = (
    ROWS
    + """
import os, shutil, sqlite3, sys
target = sys.argv[1]
os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
if os.path.lexists(target):
    os.unlink(target)
try:
    with open(target, "xb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    database = sqlite3.connect(target)
    said = [row[0] for row in database.execute("pragma integrity_check(3)")]
    if said != ["ok"]:
        sys.exit("it is not whole: " + ", ".join(map(str, said)))
    print(rows(database))
    database.close()
finally:
    for end in ("", "-wal", "-shm", "-journal"):
        if os.path.lexists(target + end):
            os.unlink(target + end)
"""
)


def directory(app: str) -> str:
    """Where copies of the databases of *app* are made; the app's own."""
    return f"{layout.cache(app)}/backup"


def copy(app: str, path: str, number: int, end: float) -> tuple[str, int]:
    """Copy the database at *path* of `shared` of *app*: the name of the copy in `directory`, and its rows.

    *end*: until when, by the monotonic clock. Raises CommandFailed, ValueError, and ReleaseError where no time is left.
    """
    target = f"{directory(app)}/{number}.sqlite"
    source = f"{layout.shared(app)}/{path}"
    for left in range(TRIES - 1, -1, -1):
        seconds = end - time.monotonic()
        if seconds <= 0:
            raise ReleaseError(f"its SQLite databases take more than {PATIENCE} s to copy, {path} is left")
        try:
            said = run_as(
                app,
                ["/usr/bin/python3", "-I", "-c", COPY, source, target],
                what=f"copying database {path} of {app}",
                shown_as=f"python3 (copy) {path}",
                timeout=seconds,
                whole=NUMBER,
            )
            break
        except TimedOut:
            raise
        except CommandFailed:
            if not left:
                raise
    return os.path.basename(target), int(said)


def rows_of(app: str, path: str, file: IO[bytes]) -> int:
    """The rows of the database in *file*, which was at *path*, checked as the app's user.

    Raises CommandFailed and ValueError.
    """
    said = run_as(
        app,
        ["/usr/bin/python3", "-I", "-c", LOOK, f"{directory(app)}/restore-test.sqlite"],
        what=f"looking at database {path} of {app}",
        shown_as=f"python3 (look) {path}",
        stdin=file,
        timeout=PATIENCE,
        whole=NUMBER,
    )
    return int(said)


def clear(app: str) -> None:
    """Delete the copies, as the app's user: they are in a directory of its own. Raises CommandFailed."""
    run_as(
        app,
        ["rm", "--recursive", "--force", "--", directory(app)],
        what=f"deleting copies of {app}",
        timeout=600,
    )
