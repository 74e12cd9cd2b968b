"""Deploys and rollbacks as a report: a row per app with what became of it, and below the table why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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

    def row(self, app: str, one: Outcome, result: str, state: str, todo: str | Cell = "") -> None:
        # What went live is in the place of what was live when that was planned.
        went_live = "seconds" in one and not one.get("error")
        live = one.get("release") if went_live else one.get("live", one.get("from"))
        seconds = one.get("seconds")
        cells: list[str | Cell] = [
            app,
            str(live or "-"),
            str(one.get("version") or "-"),
            result,
            f"{seconds:.1f}" if isinstance(seconds, int | float) else "",
            todo,
        ]
        self.rows.append({"cells": cells, "state": state})

    def report(self) -> Report:
        return {"table": "releases", "rows": self.rows, "notes": self.notes}


def of_phases(
    results: Sequence[Result], left_out: Result | None = None, check: bool = False, back: bool = False
) -> Report:
    """The report of a deploy, or with *back* of a rollback, by the *results* of its phases in their order.

    *left_out* is the result of the task that makes users and directories: its errors keep apps out of all phases. With
    *check* nothing was carried out.
    """
    made = _Builder()
    refused = (left_out or {}).get("apps") or {}
    for app, one in refused.items():
        if one.get("error"):
            at = made.note(
                app, FAILED, f"left out of this run; its live release keeps serving: {one['error']}"
            )
            made.row(app, {}, "left out", FAILED, {"text": "fix, then site.yml", "note": at})
    outcomes = _merged(results)
    idle = [app for app, one in outcomes.items() if one.get("action") == "none" and not one.get("error")]
    for app, one in outcomes.items():
        if app not in idle or len(idle) <= UNCHANGED_ROWS:
            _add(made, app, one, check, back)
    if len(idle) > UNCHANGED_ROWS:
        made.rows.append({"cells": [f"({len(idle)} more)", "", "", "unchanged", "", ""], "state": GOOD})
    for result in results:
        if not result.get("apps") and result.get("failed"):
            reason = result.get("module_stderr") or result.get("msg") or "a phase failed without a reason"
            made.note("", FAILED, str(reason))
    return made.report()


def _merged(results: Sequence[Result]) -> dict[str, dict[str, Any]]:
    """The outcomes of each app, a later phase's over an earlier one's; all warnings."""
    found: dict[str, dict[str, Any]] = {}
    for result in results:
        for app, one in (result.get("apps") or {}).items():
            before = found.get(app, {})
            warnings = [*before.get("warnings", []), *one.get("warnings", [])]
            found[app] = {**before, **one, "warnings": list(dict.fromkeys(warnings))}
    return found


def _add(made: _Builder, app: str, one: Outcome, check: bool, back: bool) -> None:
    warned: str | Cell = ""
    for warning in one.get("warnings", []):
        warned = {"text": "read", "note": made.note(app, WARNING, warning)}
    if one.get("error"):
        _add_failed(made, app, one)
    elif "seconds" in one:
        result = "rolled back" if back else "finished" if one.get("action") == "finish" else "deployed"
        made.row(app, one, result, WARNING if warned else CHANGED, warned)
        made.note(app, CHANGED, deployed(one))
    elif one.get("action") == "held":
        at = made.note(app, WARNING, str(one.get("why")))
        made.row(app, one, "held back", WARNING, {"text": "see", "note": at})
    elif one.get("action") == "none":
        made.row(app, one, "unchanged", WARNING if warned else GOOD, warned)
    elif check:
        why = one.get("why") or f"{one.get('release')} instead of {one.get('from')}"
        made.row(app, one, "would go back" if back else "would deploy", CHANGED, "run without --check")
        made.note(app, CHANGED, str(why))
    else:
        at = made.note(app, FAILED, "it was not finished, because the run was interrupted")
        made.row(app, one, "not finished", FAILED, {"text": "run again", "note": at})


def _add_failed(made: _Builder, app: str, one: Outcome) -> None:
    at = made.note(app, FAILED, str(one["error"]))
    if one.get("locked"):
        made.row(app, one, "locked", FAILED, {"text": "wait, run again", "note": at})
        return
    phase = one.get("phase")
    result = f"failed: {phase}" if phase and phase != "rollback" else "failed"
    made.row(app, one, result, FAILED, {"text": "fix, run again", "note": at})


def deployed(one: Outcome) -> str:
    """What is live since when, in one line with what took the seconds."""
    return (
        f"{one.get('release')} is live as {one.get('activation')}, "
        f"switched in {one.get('milliseconds') or '?'} ms, after {one['seconds']} s in all{_steps(one)}"
    )


def _steps(one: Outcome) -> str:
    """What took the seconds of a deploy, in its order, but for what is too short to be waited for."""
    steps = [f"{step} {seconds:.1f}" for step, seconds in one.get("took", {}).items() if seconds >= 0.05]
    return f" ({', '.join(steps)})" if steps else ""
