"""The database: one connection per request, one table. `python -m links.migrate` makes or updates it."""

import sqlite3
from pathlib import Path

from flask import current_app, g

# Each entry is run once, in order; PRAGMA user_version counts how many were. Append, never edit.
MIGRATIONS = (
    """CREATE TABLE link (
           slug TEXT PRIMARY KEY,
           url TEXT NOT NULL,
           title TEXT NOT NULL,
           clicks INTEGER NOT NULL DEFAULT 0,
           created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
       ) STRICT""",
    "CREATE INDEX link_created ON link (created)",
)


def connect(path: Path) -> sqlite3.Connection:
    # Autocommit, so that each statement is a transaction; several processes wait for each other's writes.
    connection = sqlite3.connect(path, timeout=20, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def migrate(connection: sqlite3.Connection) -> int:
    """Run what was not run yet; return how many that were."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        done: int = connection.execute("PRAGMA user_version").fetchone()[0]
        for statement in MIGRATIONS[done:]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {max(done, len(MIGRATIONS))}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return max(0, len(MIGRATIONS) - done)


def current() -> sqlite3.Connection:
    """The connection of this request."""
    if "database" not in g:
        g.database = connect(current_app.config["DATABASE"])
    connection: sqlite3.Connection = g.database
    return connection


def close(_: BaseException | None = None) -> None:
    connection = g.pop("database", None)
    if connection is not None:
        connection.close()
