"""Tables of plain text for a terminal: bounded in width, whatever the cells hold."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from ..host import output

#: Columns of a terminal that every table fits into.
WIDTH = 100

#: Between two columns.
GAP = "  "

#: Stands for what was cut.
CUT = "…"


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    title: str
    #: So much stays where the table is too wide. Of all columns together it leaves room within `WIDTH`.
    least: int
    right: bool = False


def text_width(text: str) -> int:
    """How many columns of a terminal *text* takes."""
    return sum(_character_width(character) for character in text)


def _character_width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def one_line(text: str) -> str:
    """*text* as a cell shows it: without what a terminal would act on, in one line."""
    return " ".join(output.clean(text).split())


def version(text: object) -> str:
    """A version as a cell shows it: of a commit, and of a digest, the beginning says enough."""
    shown = str(text or "-")
    return shown[:12] if re.fullmatch(r"[0-9a-f]{40,64}", shown) else shown


def cut(text: str, width: int) -> str:
    """The beginning of *text*, with `CUT` at its end where it is wider than *width*."""
    if text_width(text) <= width:
        return text
    kept = ""
    for character in text:
        if text_width(kept) + _character_width(character) > width - 1:
            break
        kept += character
    return kept + CUT


def render(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], indent: int = 0, width: int = WIDTH
) -> list[str]:
    """The lines of a table: the titles, then a line for each of *rows*, which are *indent* further in.

    A column without a text is left out, but for the first. Where the table is wider than *width*, cells are cut, the widest
    columns first.
    """
    lines = [tuple(column.title for column in columns)]
    # No more of a cell than could ever be shown: texts may be endless.
    lines += [tuple(one_line(cell)[: 2 * width] for cell in row) for row in rows]
    shown = [place for place in range(len(columns)) if not place or any(row[place] for row in lines[1:])]
    widths = {place: max(text_width(row[place]) for row in lines) for place in shown}
    _narrow(widths, columns, width - indent)
    titles, *rest = lines
    # The titles stand at the left edge: the first one takes up what the rows are further in.
    return [
        _line(titles, {**widths, 0: widths[0] + indent}, columns),
        *(" " * indent + _line(row, widths, columns) for row in rest),
    ]


def _narrow(widths: dict[int, int], columns: Sequence[Column], width: int) -> None:
    """Make *widths*, by place of the column, smaller until all fit into *width*."""
    while sum(widths.values()) + len(GAP) * (len(widths) - 1) > width:
        place = max(widths, key=lambda place: widths[place] - columns[place].least)
        if widths[place] <= columns[place].least:
            return
        widths[place] -= 1


def _line(row: Sequence[str], widths: dict[int, int], columns: Sequence[Column]) -> str:
    cells = []
    for place, width in widths.items():
        text = cut(row[place], width)
        padding = " " * (width - text_width(text))
        cells.append(padding + text if columns[place].right else text + padding)
    return GAP.join(cells).rstrip()
