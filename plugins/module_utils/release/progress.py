"""How far a deploy is: what its lock says of it, and how long each of its steps took."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from .lock import Lock
from .options import Options, Outcome
from .spec import ReleaseSpec
from .state import AppState


class Steps:
    """What the making of a release said: how long each of its steps took, in seconds, and warnings."""

    def __init__(self, begin: Callable[[str], None]) -> None:
        self._begin = begin
        self.took: dict[str, float] = {}
        self.warnings: list[str] = []
        self._step, self._began = "", time.monotonic()

    def say(self, text: str) -> None:
        """Begin step *text*, or keep a `warning: …`."""
        if text.startswith("warning: "):
            self.warnings.append(text.removeprefix("warning: "))
            return
        self.end()
        self._begin(text)
        self._step = text

    def end(self) -> dict[str, float]:
        """End the step that runs. Returns the seconds of all."""
        ended = time.monotonic()
        if self._step:
            self.took[self._step] = round(ended - self._began, 2)
        self._step, self._began = "", ended
        return self.took

    def warned(self) -> Outcome:
        """The warnings as a part of an outcome."""
        return {"warnings": self.warnings} if self.warnings else {}


def note(state: AppState, options: Options, **progress: Any) -> Lock:
    """Write into the lock how far the deploy is, so that the next phase, or the next run, knows."""
    held = replace(state.held_lock(options.owner["token"]), **progress)
    state.write_lock(held)
    return held


def taken(held: Lock, step: str, began: float) -> dict[str, float]:
    """The seconds of each step so far, with *step*, which has begun at *began* of the monotonic clock."""
    took = dict(held.took)
    # A rollback that is warm goes through some of them twice.
    took[step] = round(took.get(step, 0) + time.monotonic() - began, 2)
    return took


def note_took(state: AppState, options: Options, took: Mapping[str, float]) -> None:
    """Write the seconds of the steps so far into the lock. No deploy fails for the want of them."""
    with contextlib.suppress(Exception):
        if state.lock() is not None:
            note(state, options, took=took)


def entry(held: Lock, options: Options, phase: str, result: str, reason: str = "") -> dict[str, Any]:
    """A line of the history."""
    return {
        "kind": held.kind,
        "who": options.owner.get("who"),
        "controller": options.owner.get("controller"),
        "release": held.release,
        "activation": held.activation,
        "seconds": held.seconds,
        "phase": phase,
        "result": result,
        "took": held.took,
        **({"reason": reason[:2000]} if reason else {}),
    }


def adopt(spec: ReleaseSpec, options: Options) -> Outcome:
    """Give the lock of a dead run, which has switched already, to this one: it goes on at the switch."""
    state = AppState(spec["name"])
    with state.working(seconds=120):
        left, live = state.lock() or Lock(), state.live_activation()
        state.take_lock(
            options.owner,
            options.dead,
            options.break_lock,
            kind=left.kind,
            release=state.live_release(),
            activation=live,
            # A run that died before its switch has left the live activation alone: there is nothing to take back.
            previous=left.previous if left.activation == live else live,
            switched_before=left.switched_before,
            live_as_before=left.live_as_before,
            status_before=left.status_before,
        )
    return {"release": state.live_release(), "changed": True}
