"""The messages, in SQLite: all processes of the app share them, and they survive releases.

`python -m chat.database` makes the table.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parent.parent / "data" / "chat.sqlite3"

#: Messages that a newcomer is shown.
SHOWN = 50


class Messages:
    def __init__(self, path: Path = FILE) -> None:
        self.path = path

    def _connect(self) -> sqlite3.Connection:
        # A connection for each use: threads share none, and there is nothing to close at the end.
        connection = sqlite3.connect(self.path, timeout=10)
        connection.row_factory = sqlite3.Row
        return connection

    def migrate(self) -> None:
        self.path.parent.mkdir(exist_ok=True)
        with closing(self._connect()) as connection, connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS messages"
                " (id INTEGER PRIMARY KEY, name TEXT NOT NULL, text TEXT NOT NULL)"
            )

    def add(self, name: str, text: str) -> int:
        with closing(self._connect()) as connection, connection:
            added = connection.execute("INSERT INTO messages (name, text) VALUES (?, ?)", (name, text))
            return int(added.lastrowid or 0)

    def after(self, number: int) -> list[dict[str, Any]]:
        with closing(self._connect()) as connection:
            rows = connection.execute(
                "SELECT id, name, text FROM messages WHERE id > ? ORDER BY id LIMIT 500", (number,)
            )
            return [dict(row) for row in rows]

    def last(self) -> int:
        with closing(self._connect()) as connection:
            return int(connection.execute("SELECT coalesce(max(id), 0) FROM messages").fetchone()[0])


if __name__ == "__main__":
    Messages().migrate()
