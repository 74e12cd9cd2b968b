"""The phases `stand_down` and `take_over`: what runs on one host of an app alone moves to another host.

The first one ends on all hosts before the second one begins, so that nothing runs twice.
"""

from __future__ import annotations

import time

from ..host.release_error import ReleaseError
from ..systemd import app_units
from . import workers
from .options import Options, Outcome
from .spec import ReleaseSpec
from .state import AppState

#: Seconds that a scheduled command may take to end by itself. The deploy then ends, and nothing has moved.
PATIENCE = 60


def stand_down(spec: ReleaseSpec, options: Options) -> Outcome:
    """End what another host begins afterwards. Raises ReleaseError where a scheduled command goes on for too long."""
    if spec.get("lead") != "lose" or options.check_mode:
        return {"changed": spec.get("lead") == "lose"}
    state = AppState(spec["name"])
    with state.working(seconds=120):
        live = state.manifest(str(state.live_release()))
        state.lead(False)
        workers.follow(state)
        commands = [one for one in live.schedule if one in live.on_first] if live else []
        deadline = time.monotonic() + PATIENCE
        while busy := app_units.running_commands(state.app, commands):
            if time.monotonic() > deadline:
                state.lead(True)
                workers.follow(state)
                raise ReleaseError(
                    f"the scheduled command {busy[0]} still runs here, and another host is to run it from now on. Nothing "
                    "was moved: run the playbook again when it has ended."
                )
            time.sleep(0.5)
    return {"changed": True}


def take_over(spec: ReleaseSpec, options: Options) -> Outcome:
    """Begin what runs on this host alone, for the release that is live."""
    if spec.get("lead") != "gain" or options.check_mode:
        return {"changed": spec.get("lead") == "gain"}
    state = AppState(spec["name"])
    with state.working(seconds=120):
        state.lead(True)
        workers.follow(state)
    return {"changed": True}
