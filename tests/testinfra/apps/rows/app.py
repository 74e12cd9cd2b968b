"""An app with rows in a database. It tells who it is there, and tries whatever it is asked to."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

import psycopg


def connect(url: str = "") -> psycopg.Connection[Any]:
    return psycopg.connect(url or os.environ["DATABASE_URL"], connect_timeout=5)


def tried(url: str) -> str:
    """What becomes of a connection to *url*."""
    try:
        with connect(url) as connection:
            (who,) = connection.execute("select current_user").fetchone() or ("",)
    except psycopg.Error as error:
        return f"refused: {' '.join(str(error).split())}"
    return f"connected as {who}"


def rows(path: str, name: str) -> str:
    with connect() as connection:
        if path == "/add":
            connection.execute("insert into rows (name) values (%s)", (name,))
        (count,) = connection.execute("select count(*) from rows").fetchone() or (0,)
        (session, acting) = connection.execute("select session_user, current_user").fetchone() or ("", "")
    return f"{count} {session} {acting}"


def both(name: str) -> str:
    """A row in PostgreSQL and one in SQLite; how many each has then."""
    with contextlib.closing(sqlite3.connect("data/rows.sqlite3", timeout=20)) as file:
        file.execute("pragma journal_mode=wal")
        with file:
            file.execute("create table if not exists rows (name text)")
            file.execute("insert into rows values (?)", (name,))
        (count,) = file.execute("select count(*) from rows").fetchone()
    return f"{count} {rows('/add', name).split()[0]}"


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    query = parse_qs(environ["QUERY_STRING"])
    path = environ["PATH_INFO"]
    name = query.get("name", ["row"])[0]
    said = tried(query["url"][0]) if path == "/try" else both(name) if path == "/both" else rows(path, name)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [said.encode()]
