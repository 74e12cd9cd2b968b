"""The report of a run: Markdown with a plot, and the figures for `make figures`. Pure, but for `write`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from .stats import Spread


@dataclass(frozen=True)
class Bar:
    """One ratio of the plot, with its spread."""

    label: str
    spread: Spread


def number(value: float) -> str:
    """As many digits as mean something: 12,345, 345, 34.5, 3.45, 0.345."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    if abs(value) >= 1:
        return f"{value:.2f}"
    return f"{value:.3f}"


def shown(spread: Spread) -> str:
    """A median with its quartiles."""
    return f"{number(spread.median)} ({number(spread.low)} to {number(spread.high)})"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown; numbers stand to the right, but for the first column."""
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, rule, *rows])


def figures(values: Mapping[str, float | Spread]) -> str:
    """Lines that `make figures` collects; what was measured in rounds has its quartiles."""

    def text(value: float | Spread) -> str:
        if isinstance(value, int):
            return str(value)
        return (shown(value) if isinstance(value, Spread) else number(value)).replace(",", "")

    return "\n".join(f"figure: {name} = {text(value)}" for name, value in values.items())


#: Of the plot, in pixels.
WIDTH, LEFT, RIGHT, ROW, TOP = 720, 250, 70, 26, 48


def plot(title: str, bars: Sequence[Bar], aim: float | None = None) -> str:
    """Horizontal bars of ratios as SVG: the median, its quartiles as a line, and a rule at *aim*."""
    most = max([bar.spread.high for bar in bars] + [aim or 0, 1]) * 1.05
    scale = (WIDTH - LEFT - RIGHT) / most
    height = TOP + ROW * len(bars) + 28
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="12" y="24" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for position, bar in enumerate(bars):
        y = TOP + ROW * position
        middle = y + ROW / 2 - 3
        end = LEFT + bar.spread.median * scale
        low, high = (LEFT + value * scale for value in (bar.spread.low, bar.spread.high))
        parts += [
            f'<text x="{LEFT - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(bar.label)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{end - LEFT:.1f}" height="{ROW - 6}" fill="#4878a8"/>',
            f'<line x1="{low:.1f}" y1="{middle:.1f}" x2="{high:.1f}" y2="{middle:.1f}" stroke="#222" stroke-width="2"/>',
            f'<text x="{max(end, high) + 6:.1f}" y="{middle + 4:.1f}">{number(bar.spread.median)}</text>',
        ]
    for value, colour in ((1.0, "#888"), *(((aim, "#c03030"),) if aim is not None else ())):
        x = LEFT + value * scale
        parts.append(
            f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{height - 24}" stroke="{colour}" stroke-dasharray="4 3"/>'
        )
    note = "Grey: as fast as the other." + (f" Red: the aim, {number(aim)}." if aim is not None else "")
    parts += [f'<text x="12" y="{height - 8}" fill="#555">{escape(note)}</text>', "</svg>"]
    return "\n".join(parts) + "\n"


def write(directory: Path, files: Mapping[str, str]) -> None:
    """Replace the report's files."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text)
