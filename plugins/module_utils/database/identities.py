"""Who may load the restored data of an app: user postgres of this host, as the role of the app.

A few lines in PostgreSQL's own map of users, between two marks: PostgreSQL would have to restart for a map in another place,
and lines of others stay. The access rules name this map for databases that are being restored, and for no others.
"""

from __future__ import annotations

import grp
from collections.abc import Iterable

from ..files.atomic import write_atomically

MAP = "emperor-restore"
BEGIN = "# Emperor Stack (role postgresql) writes the lines from here"
END = "# to here; changes to them are overwritten."


def merged(text: str, roles: Iterable[str]) -> str:
    """*text* of a map with lines for *roles*, in the place of those that it has."""
    before, mark, rest = text.partition(f"{BEGIN}\n")
    after = rest.partition(f"{END}\n")[2] if mark else ""
    if before and not before.endswith("\n"):
        before += "\n"
    lines = "".join(f'{MAP} postgres "{role}"\n' for role in sorted(roles))
    return f"{before}{BEGIN}\n{lines}{END}\n{after}"


def roles(path: str) -> set[str]:
    """The roles that the lines of the map at *path* are for: those of the apps of the last run. Raises OSError."""
    ours = _read(path).partition(f"{BEGIN}\n")[2].partition(f"{END}\n")[0]
    return {line.split('"')[1] for line in ours.splitlines() if line.startswith(f"{MAP} ")}


def differ(path: str, roles: Iterable[str]) -> bool:
    """Whether the map at *path* lacks the lines for *roles*. Raises OSError."""
    text = _read(path)
    return merged(text, roles) != text


def write(path: str, roles: Iterable[str]) -> None:
    """Put the lines for *roles* into the map at *path*, for PostgreSQL to load. Raises OSError."""
    write_atomically(path, merged(_read(path), roles), 0o640, grp.getgrnam("postgres").gr_gid)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return ""
