"""Numbers that runs measured: `figure: NAME = VALUE` lines, kept with date and source. The last run wins."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from .console import command
from .project import state

LINE = re.compile(r"\bfigure: ([a-z][a-z0-9_]*) = (\S.*?)\s*$", re.MULTILINE)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")

Figures = dict[str, dict[str, str]]


def parse(text: str) -> dict[str, str]:
    """Every figure in *text*, wherever in its line it starts: a test runner's dot may come first."""
    return dict(LINE.findall(COLOUR.sub("", text)))


def merge(known: Figures, figures: dict[str, str], source: str, date: str) -> Figures:
    new = {name: {"value": value, "source": source, "date": date} for name, value in figures.items()}
    return dict(sorted({**known, **new}.items()))


def path() -> Path:
    return state() / "figures.json"


def read() -> Figures:
    try:
        known: Figures = json.loads(path().read_text())
    except (OSError, ValueError):
        return {}
    return known


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Two scenarios may end in the same moment."""
    with (state() / "figures.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def record(text: str, source: str) -> dict[str, str]:
    """Keep the figures of *text*; returns them."""
    figures = parse(text)
    if figures:
        with locked():
            known = merge(read(), figures, source, time.strftime("%Y-%m-%d %H:%M"))
            temporary = path().with_suffix(".tmp")
            temporary.write_text(json.dumps(known, indent=2) + "\n")
            temporary.replace(path())
    return figures


def table(known: Figures) -> str:
    if not known:
        return "No figures yet: scenarios (`make test`) and benches print them."
    rows = [("figure", "value", "source", "date")]
    rows += [(name, figure["value"], figure["source"], figure["date"]) for name, figure in known.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in rows
    )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.figures", description=__doc__)
    parser.add_argument("--collect", metavar="SOURCE", help="pass stdin on to stdout and keep its figures")
    source = parser.parse_args(arguments).collect
    if not source:
        print(table(read()))
        return 0
    lines = []
    for line in sys.stdin:
        print(line, end="", flush=True)
        lines.append(line)
    record("".join(lines), source)
    return 0


if __name__ == "__main__":
    command(main)
