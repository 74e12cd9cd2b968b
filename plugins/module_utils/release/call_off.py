"""The phase `call_off`: undo what a deploy or a rollback did on this host, because it failed on another one.

Until the phase `drain`, the activation that was live before still runs, so that nothing has to boot.
"""

from __future__ import annotations

import os

from ..host import layout
from . import abort, failure, lifecycle
from .lock import Lock
from .options import Options, Outcome
from .progress import note
from .spec import ReleaseSpec
from .state import AppState

#: How the history calls the result.
CALLED_OFF = "called off"


def call_off(spec: ReleaseSpec, options: Options) -> Outcome:
    """Leave the release live that was so before this run."""
    app, reason = spec["name"], spec["called_off"]
    state = AppState(app)
    if options.check_mode:
        return {"error": f"{CALLED_OFF}: {reason}"}
    with state.working(seconds=120):
        return undo(state, options, reason)


def undo(state: AppState, options: Options, reason: str) -> Outcome:
    """End the deploy whose lock the run of *options* has, and write *reason* into the history. For `working` blocks."""
    held = note(state, options, phase="call_off")
    undoing = failure.Undoing(state.app)
    undoing.step("taking back the switch", lambda: _take_back(state, held))
    return abort.end(state, options, "call_off", reason, CALLED_OFF, undoing)


def _take_back(state: AppState, held: Lock) -> None:
    """Undo a switch of this run, where there was one."""
    activation, previous = held.activation, held.previous
    if activation in (None, previous) or state.live_activation() != activation:
        return
    if previous is None:
        # The first release: nothing answers, as on the other hosts.
        os.unlink(layout.active(state.app))
    elif lifecycle.runner_of(previous) is None:
        raise lifecycle.NotHealthy(
            f"{previous}, which was live before, has ended meanwhile. {state.release_of(activation)} stays live on this "
            "host: run the playbook again, which brings all hosts to one release"
        )
    else:
        lifecycle.switch(state, previous)
    lifecycle.drain(state.app, activation, state.seconds_to_end(activation))
    if held.release is None:
        return
    if held.kind != "rollback":
        state.mark(held.release, status="prepared", switched=0.0, live_as=0)
        return
    before = {"switched": held.switched_before, "live_as": int(held.live_as_before)}
    state.mark(held.release, status=held.status_before or "good", **before)
    if left := state.release_of(previous):
        state.mark(left, status="good", reason="")
