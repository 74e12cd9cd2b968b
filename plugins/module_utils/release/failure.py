"""The failure of one app: what is said of it, and how its traces go without a second failure that hides the first.

What an app brings may raise anything (a file in UTF-16, a tree too deep, a number that is none). Whatever it is, it is the
failure of this app alone.
"""

from __future__ import annotations

import os
import syslog
import traceback
from collections.abc import Callable
from typing import TypeVar

from ..host import output
from ..host.command import CommandFailed
from ..host.release_error import ReleaseError
from .lifecycle import NotHealthy
from .lock import Locked

Result = TypeVar("Result")

#: What a release may fail with in words for its operator. Of anything else the place in our code is said too.
EXPECTED = (ReleaseError, CommandFailed, NotHealthy, Locked, OSError)

#: By which the journal names what we write there.
JOURNAL = "emperor-stack"

#: What the names of all our files begin with.
OURS = f"{os.path.dirname(os.path.dirname(__file__))}/"

#: Lines of a trace that the journal gets: the last ones, where it goes round in a circle.
TRACE_LINES = 60


def described(app: str, error: Exception) -> str:
    """Why *app* failed. Of what nobody expected also its type and its place; its trace goes to the journal."""
    text = output.shown(str(error))[: 2 * output.SHOWN_CHARACTERS]
    if isinstance(error, EXPECTED):
        return text or type(error).__name__
    note_trace(app, error)
    first = next(iter(text.splitlines()), "")
    return (
        f"{type(error).__name__}{': ' if first else ''}{first} ({place(error)}; unexpected error: please report it "
        f"with the output of `journalctl -t {JOURNAL}`)"
    )


def place(error: Exception) -> str:
    """Where in our code *error* came from, such as `release/venv.py, line 172, in venv_key`."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(OURS)] or frames
    if not ours:
        return "somewhere"
    return f"{ours[-1].filename.removeprefix(OURS)}, line {ours[-1].lineno}, in {ours[-1].name}"


def note_trace(app: str, error: Exception) -> None:
    """Write the trace of *error* to the journal."""
    lines = output.shown("".join(traceback.format_exception(error))).splitlines()
    syslog.openlog(JOURNAL)
    for line in [f"{app}: an unexpected failure", *lines[-TRACE_LINES:]]:
        syslog.syslog(syslog.LOG_ERR, output.last(line, 1000))


class Undoing:
    """Steps that are all taken, whatever becomes of each; `problems` says what could not be done."""

    def __init__(self, app: str) -> None:
        self.app = app
        self.problems: list[str] = []

    def step(self, what: str, work: Callable[[], Result]) -> Result | None:
        """The result of *work*; None where it failed."""
        try:
            return work()
        except Exception as error:
            self.problems.append(f"{what}: {described(self.app, error)}")
            return None

    def said(self) -> str:
        """Behind the reason of the failure, on lines of their own."""
        return "".join(
            f"\nWhile this was undone, another step failed: {problem}" for problem in self.problems
        )
