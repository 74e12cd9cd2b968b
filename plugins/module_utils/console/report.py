"""What a run says at its end: tables of apps per host, and below them each error once, as a plain text.

A `Report` is what one host has to say. It travels as a part of a task's result, so every callback can show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypedDict

from ..host import output
from . import table

#: How something went, as results and colours name it.
GOOD, CHANGED, WARNING, FAILED = "good", "changed", "warning", "failed"

#: The more serious, the further back.
STATES = (GOOD, CHANGED, WARNING, FAILED)


class Cell(TypedDict):
    """A text of a table that refers to a note of the same report, by its place there."""

    text: str
    note: int


class Row(TypedDict):
    cells: list[str | Cell]
    state: str


class Note(TypedDict):
    """A text below the table: one line where *state* is good or changed, else any number, with a number before it."""

    #: What it is about, such as the name of an app; may be empty.
    about: str
    state: str
    text: str


class Report(TypedDict):
    #: Names the columns; see `TABLES`.
    table: str
    rows: list[Row]
    notes: list[Note]


Column = table.Column

#: The table that is about all hosts, so that no host is named in it.
ACROSS = "fleet"

#: The columns of each kind of table.
TABLES: Mapping[str, Sequence[Column]] = {
    "releases": (
        Column("app", 12),
        Column("live release", 23),
        Column("version", 8),
        Column("result", 15),
        Column("seconds", 7, right=True),
        Column("what to do next", 17),
    ),
    # Of all hosts together; see fleet_status.py.
    ACROSS: (
        Column("app", 12),
        Column("release", 23),
        Column("version", 10),
        Column("hosts", 7, right=True),
        Column("health", 12),
        Column("drift", 24),
    ),
    "status": (
        Column("app", 9),
        Column("live release", 23),
        Column("as", 4),
        Column("version", 7),
        Column("health", 10),
        Column("busy", 5, right=True),
        Column("MiB", 5, right=True),
        Column("requests", 8, right=True),
        Column("last run", 11),
    ),
    "restores": (
        Column("app", 12),
        Column("backup of", 20),
        Column("result", 15),
        Column("what to do next", 19),
    ),
    "certificates": (
        Column("app", 12),
        Column("tls", 8),
        Column("certificate", 11),
        Column("valid until", 11),
        Column("days", 5, right=True),
        Column("names", 30),
    ),
}


class Line(TypedDict):
    text: str
    state: str


def of_host(outcome: str, todo: str) -> Report:
    """A report of a host that has none of its own."""
    return {
        "table": "releases",
        "rows": [{"cells": ["(all)", "-", "-", outcome, "", todo], "state": FAILED}],
        "notes": [],
    }


def worst(report: Report) -> str:
    """The most serious state in *report*."""
    states = [one["state"] for one in (*report["rows"], *report["notes"])]
    return max(states, key=STATES.index, default=GOOD)


def failure(report: Report) -> str:
    """What failed, in one line."""
    about = [note["about"] for note in report["notes"] if note["state"] == FAILED]
    apps = ", ".join(table.one_line(app) for app in dict.fromkeys(about) if app)
    return f"{apps} failed" if apps else "some problems remain"


def lines(reports: Sequence[tuple[str, Report]]) -> list[Line]:
    """The lines of all *reports*, each with the name of its host: the tables, one-line notes, then the numbered ones.

    Hosts are named where there is more than one.
    """
    reports = [("" if one["table"] == ACROSS else host, one) for host, one in reports]
    several = len({host for host, _ in reports if host}) > 1
    numbers, numbered = _numbered(reports, several)
    found: list[Line] = []
    for kind in TABLES:
        rows = [(at, host, one) for at, (host, one) in enumerate(reports) if one["table"] == kind]
        if any(one["rows"] for _, _, one in rows):
            found += _gap(found) + list(_table(TABLES[kind], rows, numbers, several))
    short = [
        (host, note)
        for host, one in reports
        for note in one["notes"]
        if STATES.index(note["state"]) < STATES.index(WARNING)
    ]
    if short:
        found += _gap(found)
        found += [
            {"text": f"{_about(host, note, several)}{table.one_line(note['text'])}", "state": note["state"]}
            for host, note in short
        ]
    for text, state in numbered:
        found += _gap(found) + [{"text": line, "state": state} for line in text]
    return found


def text(reports: Sequence[tuple[str, Report]]) -> str:
    """The same as one text."""
    return "\n".join(line["text"] for line in lines(reports))


def _gap(before: Sequence[Line]) -> list[Line]:
    return [{"text": "", "state": GOOD}] if before else []


def _about(host: str, note: Note, several: bool) -> str:
    words = [table.one_line(word) for word in ((host,) if several else ()) + (note["about"],) if word]
    return f"{' '.join(words)}: " if words else ""


def _numbered(
    reports: Sequence[tuple[str, Report]], several: bool
) -> tuple[dict[tuple[int, int], int], list[tuple[list[str], str]]]:
    """The number of each serious note, by the places of its report and of itself there; and their lines in order.

    What several hosts say in the same words is there once.
    """
    numbers: dict[tuple[int, int], int] = {}
    same: dict[tuple[str, str, str], list[tuple[int, int, str]]] = {}
    for at, (host, one) in enumerate(reports):
        for place, note in enumerate(one["notes"]):
            if note["state"] in (WARNING, FAILED):
                key = (note["about"], note["state"], note["text"])
                same.setdefault(key, []).append((at, place, host))
    shown = []
    for number, ((about, state, words), places) in enumerate(same.items(), start=1):
        numbers |= {(at, place): number for at, place, _ in places}
        hosts = list(dict.fromkeys(table.one_line(host) for _, _, host in places))
        where = [f"on {', '.join(hosts)}"] if several and any(hosts) else []
        head = " ".join([part for part in (table.one_line(about), *where) if part])
        shown.append((_paragraph(f"[{number}] ", head, words), state))
    return numbers, shown


def _paragraph(number: str, head: str, words: str) -> list[str]:
    """*words* line by line as they are, the first behind *number* and *head*, the others further in."""
    first, *rest = (line.rstrip() for line in output.clean(words).strip("\n").split("\n"))
    inside = " " * len(number)
    return [
        f"{number}{head}{': ' if head else ''}{first}".rstrip(),
        *(f"{inside}{line}".rstrip() for line in rest),
    ]


def _table(
    columns: Sequence[Column],
    reports: Iterable[tuple[int, str, Report]],
    numbers: Mapping[tuple[int, int], int],
    several: bool,
) -> Iterator[Line]:
    rows = [
        (host, [_shown(cell, at, numbers) for cell in row["cells"]], row["state"])
        for at, host, one in reports
        for row in one["rows"]
    ]
    indent = 2 if several and any(host for host, _, _ in rows) else 0
    titles, *drawn = table.render(columns, [cells for _, cells, _ in rows], indent=indent)
    yield {"text": titles, "state": GOOD}
    named = None
    for (host, _, state), line in zip(rows, drawn, strict=True):
        if several and host and host != named:
            yield {"text": table.cut(table.one_line(host), table.WIDTH), "state": GOOD}
            named = host
        yield {"text": line, "state": state}


def _shown(cell: str | Cell, at: int, numbers: Mapping[tuple[int, int], int]) -> str:
    if isinstance(cell, str):
        return cell
    number = numbers.get((at, cell["note"]))
    return cell["text"] if number is None else f"{cell['text']} [{number}]".lstrip()


def valid(value: Any) -> Report:
    """*value* as a report. Raises ValueError where it is none: it may come from anywhere."""
    if not isinstance(value, Mapping) or value.get("table") not in TABLES:
        raise ValueError("no report")
    columns = len(TABLES[value["table"]])
    notes: list[Note] = [
        {"about": str(note["about"]), "state": _state(note), "text": str(note["text"])}
        for note in value["notes"]
    ]
    rows: list[Row] = [
        {"cells": [_cell(cell) for cell in row["cells"]], "state": _state(row)} for row in value["rows"]
    ]
    if any(len(row["cells"]) != columns for row in rows):
        raise ValueError("a row has another number of cells than its table has columns")
    return {"table": value["table"], "rows": rows, "notes": notes}


def _state(value: Mapping[str, Any]) -> str:
    if value.get("state") not in STATES:
        raise ValueError(f"no state: {value.get('state')!r}")
    return str(value["state"])


def _cell(value: Any) -> str | Cell:
    if isinstance(value, Mapping):
        return {"text": str(value["text"]), "note": int(value["note"])}
    return str(value)
