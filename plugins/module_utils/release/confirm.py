"""The phase `confirm`: a switch over several hosts counts once all of them have made it.

Until then each host takes its own switch back when it hears nothing more of the run: the controller was killed, or lost
its network, after some hosts had switched and before others had.
"""

from __future__ import annotations

import contextlib
import os

from ..host import layout
from ..host.command import CommandFailed, run
from ..host.release_error import ReleaseError
from .call_off import undo
from .options import Options, Outcome
from .progress import note
from .spec import ReleaseSpec
from .state import AppState

#: The program that the timer starts: programs/go_back.py.
PROGRAM = f"{layout.LIBRARY}/go-back"


def expect(app: str, options: Options) -> None:
    """Let systemd take the switch of *app* back that begins now, unless the run confirms it in time."""
    # A host of an earlier version has no such program before its next site.yml.
    if not options.confirm_within or not os.path.exists(PROGRAM):
        return
    forget(app)
    timer = [
        f"--unit={_unit(app)}",
        f"--on-active={options.confirm_within}",
        "--timer-property=AccuracySec=1s",
    ]
    run(
        ["systemd-run", "--quiet", "--collect", *timer, PROGRAM, app, options.owner["token"]],
        what="scheduling the end of a switch that nobody confirms",
        timeout=30,
    )


def forget(app: str) -> None:
    """Stop the timer of `expect`. What it has started already waits for this run, and then finds nothing to do."""
    with contextlib.suppress(CommandFailed):
        run(["systemctl", "stop", f"{_unit(app)}.timer"], what="stopping the timer of the switch", timeout=30)


def _unit(app: str) -> str:
    return f"emperor-stack-unconfirmed-{app}"


def confirm(spec: ReleaseSpec, options: Options) -> Outcome:
    """Keep the switch of this run. Raises ReleaseError where the host has taken it back."""
    state = AppState(spec["name"])
    if options.check_mode:
        return {"changed": True}
    with state.working(seconds=120):
        if state.lock() is None:
            raise ReleaseError(
                f"this host went back to {state.live_release() or 'nothing'} by itself, as the run did not confirm the "
                "switch in time (python_apps_confirm_within)"
            )
        held = note(state, options, phase="confirm", confirmed=True)
        forget(state.app)
    return {"release": held.release}


def go_back(app: str, token: str, patience: float) -> str:
    """Take back the switch that the run *token* has begun and not confirmed. Returns what was done; empty for nothing.

    Waits so many seconds for a phase that goes on. Raises Locked after them.
    """
    state = AppState(app)
    with state.working(patience):
        held = state.lock()
        if held is None or held.token != token or held.confirmed:
            return ""
        # Nothing is pruned: how many releases are to stay is the inventory's.
        options = Options(
            owner={"token": token, "who": held.who, "controller": held.controller}, keep_releases=1000
        )
        reason = f"{held.who} on {held.controller} did not confirm the switch in time: its run was killed, or cut off"
        return undo(state, options, reason)["error"]
