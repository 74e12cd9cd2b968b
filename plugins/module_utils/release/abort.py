"""The end of a deploy that failed."""

from __future__ import annotations

from ..host import disk_quota, layout
from . import failure, lifecycle, workers
from .cleaning import all_gone, prune
from .lock import Lock
from .options import Options, Outcome
from .progress import entry
from .state import AppState


def abort(state: AppState, options: Options, phase: str, reason: str) -> Outcome:
    """End a deploy that failed in *phase*: its activation stopped, its release marked, history written, lock given back.

    Where the new release is live already (a hook of the drain failed, say), it stays so and stays good.
    """
    # Before anything is pruned, which may make room.
    if hint := disk_quota.hint(state.app):
        reason = f"{reason}\n{hint}"
    return end(state, options, phase, reason, "failed", failure.Undoing(state.app))


def end(
    state: AppState, options: Options, phase: str, reason: str, result: str, undoing: failure.Undoing
) -> Outcome:
    """End a deploy with *result*, as the history calls it; *undoing* has what could not be undone so far.

    A release that failed is marked so. One that another host called off is as good as before, and the next run takes it.
    """
    held = undoing.step("reading the lock", state.lock) or Lock()
    release, activation = held.release, held.activation
    if activation and activation != state.live_activation() and not held.warm:
        undoing.step(f"stopping {activation}", lambda: lifecycle.stop(state, activation))
    undoing.step("the workers of the live release", lambda: workers.follow(state))
    serving = state.live_release()
    failed = release if release != serving and held.kind != "rollback" and result == "failed" else None
    if failed:
        undoing.step("marking the release", lambda: state.mark(failed, status="failed", reason=reason))
    undoing.step("pruning old releases", lambda: all_gone(prune(state, options)))
    left = entry(held, options, phase, result, reason)
    undoing.step("writing the history", lambda: state.remember(left))
    undoing.step("releasing the lock", state.unlock)
    still = f"{serving} keeps serving" if serving else "nothing was live before, and nothing is now"
    kept = f" The failed release is kept at {layout.release(state.app, failed)}." if failed else ""
    return {
        "error": f"{phase if result == 'failed' else result}: {reason}{undoing.said()}\n{still}.{kept}",
        "phase": phase,
        "release": release,
        "seconds": held.seconds,
        "changed": True,
    }
