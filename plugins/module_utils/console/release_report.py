"""Deploys and rollbacks as a report: a row per app with what became of it, and below the table why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import table
from .report import CHANGED, FAILED, GOOD, WARNING, Cell, Note, Report, Row

Outcome = Mapping[str, Any]
#: The result of a task, as registered.
Result = Mapping[str, Any]

#: So many apps that nothing happened to get a row each; more of them are one row.
UNCHANGED_ROWS = 20


class _Builder:
    """Rows and notes in the making."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.notes: list[Note] = []

    def note(self, about: str, state: str, text: str) -> int:
        self.notes.append({"about": about, "state": state, "text": text})
        return len(self.notes) - 1

    def row(self, app: str, outcome: Outcome, result: str, state: str, todo: str | Cell = "") -> None:
        seconds = outcome.get("seconds")
        cells: list[str | Cell] = [
            app,
            str(outcome.get("live") or "-"),
            table.version(outcome.get("version")),
            result,
            f"{seconds:.1f}" if isinstance(seconds, int | float) else "",
            todo,
        ]
        self.rows.append({"cells": cells, "state": state})

    def report(self) -> Report:
        return {"table": "releases", "rows": self.rows, "notes": self.notes}


def of_phases(result: Result, left_out: Result | None = None, check: bool = False) -> Report:
    """The report of a deploy or a rollback, by the *result* of its last phase, which has those before in it.

    *left_out* is the result of the task that makes users and directories: its errors keep apps out of all phases. With
    *check* nothing was carried out.
    """
    made = _Builder()
    for note in _left_out(left_out):
        at = made.note(**note)
        made.row(note["about"], {}, "left out", FAILED, {"text": "fix, then site.yml", "note": at})
    outcomes: Mapping[str, Outcome] = result.get("apps") or {}
    cut_off = made.note("", FAILED, str(result["stopped"])) if "stopped" in result else None
    idle = [
        app
        for app, outcome in outcomes.items()
        if outcome.get("action") == "none" and not outcome.get("error")
    ]
    for app, outcome in outcomes.items():
        if app not in idle or len(idle) <= UNCHANGED_ROWS:
            _add(made, app, outcome, check, cut_off)
    if len(idle) > UNCHANGED_ROWS:
        made.rows.append({"cells": [f"({len(idle)} more)", "", "", "unchanged", "", ""], "state": GOOD})
    return made.report()


def of_problems(problems: Sequence[str], left_out: Result | None = None) -> Report:
    """A report of what could not be done beside releases. *left_out* is as in `of_phases`, which says the same of it."""
    notes: list[Note] = [{"about": "", "state": FAILED, "text": text} for text in problems]
    return {"table": "releases", "rows": [], "notes": [*_left_out(left_out), *notes]}


def _left_out(result: Result | None) -> list[Note]:
    apps = ((result or {}).get("apps") or {}).items()
    text = "It was left out of this run; its live release keeps serving."
    return [
        {"about": app, "state": FAILED, "text": f"{outcome['error']}\n{text}"}
        for app, outcome in apps
        if outcome.get("error")
    ]


def _add(made: _Builder, app: str, outcome: Outcome, check: bool, cut_off: int | None) -> None:
    """Add *app*. *cut_off* is the note that says why the run came to no end, where it did not."""
    # Only a rollback says where it comes from.
    back = "from" in outcome
    warned: str | Cell = ""
    for warning in outcome.get("warnings", []):
        warned = {"text": "read", "note": made.note(app, WARNING, warning)}
    if outcome.get("error"):
        _add_failed(made, app, outcome)
    elif "seconds" in outcome:
        result = "rolled back" if back else "finished" if outcome.get("action") == "finish" else "deployed"
        made.row(app, outcome, result, WARNING if warned else CHANGED, warned)
        made.note(app, CHANGED, deployed(outcome))
    elif outcome.get("action") == "held":
        at = made.note(app, WARNING, str(outcome.get("why")))
        made.row(app, outcome, "held", WARNING, {"text": "see", "note": at})
        _add_place(made, app, outcome)
    elif outcome.get("action") == "none":
        made.row(app, outcome, "unchanged", WARNING if warned else GOOD, warned)
        _add_place(made, app, outcome)
    elif check:
        why = outcome.get("why") or f"{outcome.get('release')} instead of {outcome.get('from')}"
        made.row(app, outcome, "would go back" if back else "would deploy", CHANGED, "run without --check")
        made.note(app, CHANGED, str(why))
    else:
        if cut_off is None:
            cut_off = made.note(app, FAILED, "it was not finished, because the run was interrupted")
        made.row(app, outcome, "not finished", FAILED, {"text": "run again", "note": cut_off})


def _add_place(made: _Builder, app: str, outcome: Outcome) -> None:
    """Say where *app* is live that this run did not deploy."""
    if not outcome.get("url"):
        return
    # Of an app that failed late the new release may be live.
    again = "" if outcome.get("error") and outcome.get("release") == outcome.get("live") else ", as before"
    made.note(app, GOOD, f"{outcome.get('live')} is live at {outcome['url']}{again}")


def _add_failed(made: _Builder, app: str, outcome: Outcome) -> None:
    _add_place(made, app, outcome)
    at = made.note(app, FAILED, str(outcome["error"]))
    if outcome.get("locked"):
        made.row(app, outcome, "locked", FAILED, {"text": "wait, run again", "note": at})
        return
    phase = outcome.get("phase")
    result = f"failed: {phase}" if phase and phase != "rollback" else "failed"
    if phase == "call_off":
        result = "called off"
    made.row(app, outcome, result, FAILED, {"text": "fix, run again", "note": at})


def deployed(outcome: Outcome) -> str:
    """What is live where since when, in one line with what took the seconds."""
    place = f" at {outcome['url']}" if outcome.get("url") else ""
    return (
        f"{outcome.get('release')} is live as {outcome.get('activation')}{place}, "
        f"switched in {outcome.get('milliseconds') or '?'} ms, after {outcome['seconds']} s in all{_steps(outcome)}"
    )


def _steps(outcome: Outcome) -> str:
    """What took the seconds of a deploy, in its order, but for what is too short to be waited for."""
    steps = [f"{step} {seconds:.1f}" for step, seconds in outcome.get("took", {}).items() if seconds >= 0.05]
    return f" ({', '.join(steps)})" if steps else ""
