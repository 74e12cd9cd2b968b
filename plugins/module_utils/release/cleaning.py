"""What goes from an app's directories: what a dead run left, and what is kept for nothing."""

from __future__ import annotations

from collections.abc import Iterable

from ..files import atomic
from ..host import layout
from ..host.release_error import ReleaseError
from ..systemd import app_process
from . import lifecycle, workers
from .options import Options
from .state import AppState, prunable


def clean_up(state: AppState) -> list[str]:
    """Undo what a run that died left: commands, parts of releases, and activations that are neither live nor warm.

    Returns warnings.
    """
    # First: they may still write to what is removed here.
    app_process.end_left(state.app)
    warnings = removed(state, state.partial_releases())
    _remove_half_written(state)
    live = state.live_activation()
    keep = {live, warm_activation(state)}
    for _, activation in list(lifecycle.running_activations(state.app)):
        if activation not in keep:
            served = state.manifest(str(state.release_of(activation)))
            if served is not None and served.switched:
                lifecycle.drain(state.app, activation, state.seconds_to_end(activation))
            lifecycle.stop(state, activation)
    for activation in state.activation_names():
        if activation not in keep:
            lifecycle.stop(state, activation)
    workers.follow(state)
    return warnings


def _remove_half_written(state: AppState) -> None:
    """Remove the files that a run was writing when it was killed."""
    app = state.app
    releases = [layout.release(app, manifest.release) for manifest in state.manifests()]
    for directory in (layout.app_root(app), layout.state(app), *releases):
        atomic.remove_half_written(directory)
    for directory, pattern in layout.everything_of(app):
        atomic.remove_half_written(directory, pattern)


def removed(state: AppState, releases: Iterable[str]) -> list[str]:
    """Remove *releases*. Returns what could not be deleted, which ends no deploy: the next run tries again."""
    warnings = []
    for name in releases:
        try:
            state.remove_release(name)
        except (ReleaseError, OSError) as error:
            warnings.append(str(error))
    return warnings


def warm_activation(state: AppState) -> str | None:
    """The activation that still runs for a rollback: the one that served before the live one."""
    live = state.live_activation()
    good = {m.release for m in state.manifests() if m.status == "good"}
    others = [
        activation
        for _, activation in lifecycle.running_activations(state.app)
        if activation != live and state.release_of(activation) in good
    ]
    return max(others, key=lambda name: int(name.rpartition("@")[2]), default=None)


def all_gone(warnings: list[str]) -> None:
    """Raises ReleaseError with the *warnings*, where there are some."""
    if warnings:
        raise ReleaseError("; ".join(warnings))


def prune(state: AppState, options: Options) -> list[str]:
    """Remove the releases that are kept for nothing. Returns warnings."""
    live = state.live_release()
    in_use = {state.release_of(name) for _, name in lifecycle.running_activations(state.app)} - {None}
    held = state.lock()
    if held and held.release:
        in_use.add(held.release)
    gone = prunable(state.manifests(), live, options.keep_releases, {str(n) for n in in_use})
    return removed(state, gone)
