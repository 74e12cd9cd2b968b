"""What `emperor` prints: reports as on the controller, steps while they go on, and failures."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from typing import Any

from ..console import report, table
from ..console.report import FAILED, Report
from ..host import output
from ..release.current_steps import CurrentSteps

#: As for ansible-playbook.
GOOD, BAD = 0, 2


class ShownSteps(CurrentSteps):
    """Says each step of a run on standard error when it begins."""

    def begin(self, app: str, step: str) -> None:
        # Whoever looked on may be gone: the phase that runs comes to its end.
        with contextlib.suppress(OSError):
            print(f"... {app}: {output.clean(step)}", file=sys.stderr, flush=True)


def say(text: str) -> None:
    print(text, flush=True)


def complain(text: str) -> int:
    """Say why nothing was done, or what failed; the exit status for it."""
    print(f"emperor: {output.clean(text)}", file=sys.stderr, flush=True)
    return BAD


def show(one: Report) -> int:
    """Print the report of this host; the exit status for what it says."""
    say(report.text([("", one)]))
    return BAD if report.worst(one) == FAILED else GOOD


def show_json(value: Mapping[str, Any] | list[Any]) -> None:
    say(json.dumps(value, indent=1, sort_keys=True))


COLUMNS = (
    table.Column("time", 20),
    table.Column("what", 8),
    table.Column("release", 23),
    table.Column("as", 4),
    table.Column("seconds", 7, right=True),
    table.Column("who", 12),
    table.Column("result", 10),
)


def history(entries: list[dict[str, Any]]) -> list[str]:
    """The lines of a table of *entries*, the oldest first, with the reason of the last failure below it."""
    rows = []
    for one in entries:
        bad = one.get("result") not in ("good", None)
        seconds = one.get("seconds")
        rows.append(
            [
                str(one.get("time") or ""),
                str(one.get("kind") or ""),
                str(one.get("release") or "-"),
                f"@{str(one.get('activation')).rpartition('@')[2]}" if one.get("activation") else "",
                f"{seconds:.1f}" if isinstance(seconds, int | float) else "",
                str(one.get("who") or ""),
                f"FAILED in {one.get('phase')}" if bad else "good",
            ]
        )
    lines = table.render(COLUMNS, rows)
    if entries and entries[-1].get("reason"):
        lines += ["", *output.clean(str(entries[-1]["reason"])).splitlines()]
    return lines
