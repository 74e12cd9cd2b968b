"""Show how far a long task is on its host, while it runs there.

A thread of the worker reads what the task's module writes on the host (`module_utils/release/current_steps.py`), by a second
command over the connection of the task. Where that cannot be, the task's name and its seconds are shown alone. Nothing that
goes wrong here reaches the task.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator

from .patience import FIRST, LONGEST, Pace

#: Seconds between two looks: so many at first, and more of them the longer the task runs.
LOOKS = (FIRST, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 10.0, 10.0, 10.0, 15.0)

#: Seconds that an answer may take.
PATIENCE = 2.0

#: Looks that may fail one after the other before there is no further one.
FAILURES = 3

#: Characters of a host's answer that are read.
ANSWER = 8192

#: An app, a step, and the uptime at which it began. Nothing else is shown, whatever a host answers.
LINE = re.compile(r"([a-z][a-z0-9-]{0,31}) ([a-z_]{1,16}) (\d{1,12}\.\d)")
UPTIME = re.compile(r"(\d{1,12}\.\d{1,3}) \d{1,12}\.\d{1,3}")


def parsed(answer: str) -> dict[str, tuple[str, float]]:
    """The step of each app and its seconds so far, by what a host says of its uptime and its apps."""
    lines = [line.strip() for line in answer[:ANSWER].splitlines()]
    up = next((float(match[1]) for line in lines if (match := UPTIME.fullmatch(line))), None)
    if up is None:
        return {}
    return {
        match[1]: (match[2], max(up - float(match[3]), 0.0))
        for line in lines
        if (match := LINE.fullmatch(line))
    }


class Follower:
    """What to say of a task named *task* on *host*, look by look."""

    def __init__(self, host: str, task: str) -> None:
        self._host, self._task = host, task
        #: When something has to be said at the latest.
        self._latest = FIRST
        self._paces: dict[tuple[str, str], Pace] = {}

    def lines(self, seconds: float, steps: dict[str, tuple[str, float]]) -> list[str]:
        """What to say when the task has run for *seconds*, and its apps are at *steps*."""
        known = {(app, step) for app, (step, _) in steps.items()}
        self._paces = {one: self._paces.get(one, Pace()) for one in known}
        due = [
            f"... {for_seconds:.0f} s: {step} of {app} ({self._host})"
            for app, (step, for_seconds) in steps.items()
            if self._paces[app, step].is_due(for_seconds)
        ]
        if not due and seconds < self._latest:
            return []
        self._latest = seconds + LONGEST
        if due:
            return due
        # Many short steps, or a host that does not say.
        at = ", ".join(f"{step} of {app}" for app, (step, _) in list(steps.items())[:3])
        return [f"... {seconds:.0f} s: {self._task} ({self._host}){': ' if at else ''}{at}"]


class Looks:
    """Asks a host by *look*, which may raise, or hang: then nothing is known, and nobody waits for it."""

    def __init__(self, look: Callable[[], str] | None) -> None:
        self._look = look
        self._failures = 0
        self._answers: list[str] = []
        self._thread: threading.Thread | None = None

    def steps(self) -> dict[str, tuple[str, float]]:
        """What the host says that its apps are at."""
        if self._look is None or self._failures >= FAILURES or (self._thread and self._thread.is_alive()):
            return {}
        self._answers.clear()
        self._thread = threading.Thread(target=self._ask, args=(self._look,), daemon=True)
        self._thread.start()
        self._thread.join(timeout=PATIENCE)
        return parsed(self._answers[0]) if self._answers else {}

    def _ask(self, look: Callable[[], str]) -> None:
        try:
            self._answers.append(look())
            self._failures = 0
        except Exception:
            self._failures += 1


@contextlib.contextmanager
def followed(
    host: str, task: str, look: Callable[[], str] | None, say: Callable[[str], None]
) -> Iterator[None]:
    """*say* how far *task* is on *host* during the block. *look* reads what the host has to say of it; see `Looks`.

    Nothing is said after the block: the worker that it runs in may end then, and what it said last would be lost half-way.
    """
    ended, saying = threading.Event(), threading.Lock()
    looks, follower, began = Looks(look), Follower(host, task), time.monotonic()

    def follow() -> None:
        pauses = iter(LOOKS)
        while not ended.wait(next(pauses, LOOKS[-1])):
            steps = looks.steps()
            with saying:
                for line in [] if ended.is_set() else follower.lines(time.monotonic() - began, steps):
                    say(line)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with saying:
            ended.set()
        thread.join(timeout=PATIENCE)
