"""SQLite: what is stored and how it is asked for. `python -m polls.migrate` makes or updates the tables."""

import sqlite3
from pathlib import Path
from typing import Any

from pyramid.request import Request

# Each entry is run once, in order; PRAGMA user_version counts how many were. Append, never edit.
MIGRATIONS = (
    """CREATE TABLE poll (
           id INTEGER PRIMARY KEY,
           question TEXT NOT NULL,
           open INTEGER NOT NULL DEFAULT 1,
           asked TEXT NOT NULL DEFAULT (date('now'))
       ) STRICT""",
    """CREATE TABLE choice (
           id INTEGER PRIMARY KEY,
           poll INTEGER NOT NULL REFERENCES poll ON DELETE CASCADE,
           label TEXT NOT NULL,
           UNIQUE (poll, label)
       ) STRICT""",
    # The key says it: one vote per poll and voter, whatever two requests do at the same time.
    """CREATE TABLE vote (
           poll INTEGER NOT NULL REFERENCES poll ON DELETE CASCADE,
           voter TEXT NOT NULL,
           choice INTEGER NOT NULL REFERENCES choice ON DELETE CASCADE,
           PRIMARY KEY (poll, voter)
       ) STRICT, WITHOUT ROWID""",
)


def connect(path: str | Path) -> sqlite3.Connection:
    # Autocommit, so that each statement is a transaction; several processes wait for each other's writes.
    connection = sqlite3.connect(path, timeout=20, isolation_level=None)
    connection.row_factory = sqlite3.Row
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def of_request(request: Request) -> sqlite3.Connection:
    connection = connect(request.registry.settings["polls.database"])
    request.add_finished_callback(lambda _: connection.close())
    return connection


def migrate(connection: sqlite3.Connection) -> int:
    """Run what was not run yet; return how many that were."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        done: int = connection.execute("PRAGMA user_version").fetchone()[0]
        for statement in MIGRATIONS[done:]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {max(done, len(MIGRATIONS))}")
    return max(0, len(MIGRATIONS) - done)


def polls(connection: sqlite3.Connection) -> list[sqlite3.Row]:
    """All polls, open ones first, with their number of votes."""
    return connection.execute(
        "SELECT poll.*, (SELECT count(*) FROM vote WHERE vote.poll = poll.id) AS votes"
        " FROM poll ORDER BY open DESC, id DESC LIMIT 200"
    ).fetchall()


def poll(connection: sqlite3.Connection, number: int) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute("SELECT * FROM poll WHERE id = ?", (number,)).fetchone()
    return row


def ask(connection: sqlite3.Connection, question: str, labels: list[str]) -> int:
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        number = connection.execute("INSERT INTO poll (question) VALUES (?)", (question,)).lastrowid
        connection.executemany(
            "INSERT INTO choice (poll, label) VALUES (?, ?)", [(number, label) for label in labels]
        )
    assert number is not None
    return number


def vote(connection: sqlite3.Connection, number: int, voter: str, choice: int) -> bool:
    """Count the vote, or change what this voter chose. False: the poll is closed or has no such choice."""
    counted = connection.execute(
        "INSERT INTO vote (poll, voter, choice)"
        " SELECT poll.id, ?, choice.id FROM poll JOIN choice ON choice.poll = poll.id"
        " WHERE poll.id = ? AND poll.open AND choice.id = ?"
        " ON CONFLICT (poll, voter) DO UPDATE SET choice = excluded.choice",
        (voter, number, choice),
    )
    return counted.rowcount == 1


def close(connection: sqlite3.Connection, number: int) -> None:
    connection.execute("UPDATE poll SET open = 0 WHERE id = ?", (number,))


def results(connection: sqlite3.Connection, number: int, voter: str) -> list[dict[str, Any]]:
    """The choices in the order given, with votes, share in percent, and whether this voter chose it."""
    rows = connection.execute(
        "SELECT choice.id, label, count(vote.voter) AS votes, coalesce(max(vote.voter = ?), 0) AS mine"
        " FROM choice LEFT JOIN vote ON vote.choice = choice.id"
        " WHERE choice.poll = ? GROUP BY choice.id ORDER BY choice.id",
        (voter, number),
    ).fetchall()
    total = sum(row["votes"] for row in rows)
    return [dict(row) | {"share": round(100 * row["votes"] / total) if total else 0} for row in rows]
