"""How workers and timers follow the live release through the phases of a deploy."""

from __future__ import annotations

import time
from collections.abc import Collection

from ..host import layout
from ..systemd import app_units
from ..systemd.unit_names import WEB, activation_units, release_units
from .lifecycle import NotHealthy
from .state import AppState, Manifest


def here(manifest: Manifest) -> tuple[set[str], list[str]]:
    """The workers and the scheduled commands of *manifest* that run on this host."""
    elsewhere = set() if AppState(manifest.app).leads() else set(manifest.on_first)
    return set(manifest.workers) - elsewhere, [one for one in manifest.schedule if one not in elsewhere]


def _units(manifest: Manifest, activation: str, names: Collection[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, worker in manifest.workers.items():
        if name in names:
            found |= app_units.texts(
                manifest.app, manifest.release, activation, name, int(worker.get("count", 1))
            )
    return found


def _alone(*manifests: Manifest | None) -> set[str]:
    """Workers of which two must never run, because one of the releases says so."""
    found = (manifest.workers for manifest in manifests if manifest)
    return {name for workers in found for name, worker in workers.items() if not worker.get("overlap", True)}


def _of_others(app: str, activation: str | None) -> dict[str, str]:
    """Units of workers of all other activations, each with the worker's name."""
    return {
        unit: process
        for unit, process, owner in activation_units(app)
        if process != WEB and owner != activation
    }


def _begin(manifest: Manifest, activation: str, names: Collection[str], wait: bool = True) -> None:
    """Start the workers *names*, all of which have to run after a while. Raises NotHealthy with their log."""
    began = time.time()
    units = app_units.start(activation, _units(manifest, activation, names))
    if wait:
        _complain(app_units.settle(units), began)


def _complain(fallen: dict[str, str], since: float) -> None:
    if fallen:
        log = app_units.log(fallen, since - 1)
        said = "\n".join(f"{unit} does not keep running: {why}" for unit, why in fallen.items())
        raise NotHealthy(f"{said}\nThe last lines of its log:\n{log}" if log else said)


def begin(state: AppState, manifest: Manifest, activation: str, wait: bool = True) -> None:
    """Start the workers of *activation* that may run beside those of the live one, and *wait* whether they keep running.

    Raises NotHealthy.
    """
    live = state.live_activation()
    other = state.manifest(str(state.release_of(live))) if live != activation else None
    _begin(manifest, activation, here(manifest)[0] - _alone(manifest, other), wait)


def replace(state: AppState, manifest: Manifest, activation: str, previous: str | None) -> None:
    """Once *activation* is live: give it the workers that run alone, and its timers. Raises NotHealthy."""
    other = state.manifest(str(state.release_of(previous))) if previous else None
    alone = _alone(manifest, other)
    others = _of_others(state.app, activation)
    app_units.remove(unit for unit, process in others.items() if process in alone)
    began = time.time()
    names, schedule = here(manifest)
    _begin(manifest, activation, alone & names)
    _complain(app_units.fallen(_units(manifest, activation, names)), began)
    app_units.use_timers(state.app, manifest.release, schedule)


def follow(state: AppState) -> None:
    """Leave the workers and the timers of the live activation, all of them, and no others."""
    live = state.live_activation()
    manifest = state.manifest(str(state.release_of(live))) if live else None
    app_units.remove(_of_others(state.app, live))
    if manifest is None:
        app_units.use_timers(state.app, None, ())
        return
    names, schedule = here(manifest)
    if live:
        # What this host ran as long as it led.
        gone = _units(manifest, live, set(manifest.workers) - names)
        there = {unit for unit, _, _ in activation_units(state.app)}
        app_units.remove(unit for unit in gone if unit in there)
        if missing(manifest, live):
            app_units.start(live, _units(manifest, live, names))
    app_units.use_timers(state.app, manifest.release, schedule)


def missing(manifest: Manifest, activation: str) -> list[str]:
    """Workers and timers of a live activation that have no unit."""
    names, schedule = here(manifest)
    if not names and not schedule:
        return []
    there = {unit for unit, _, _ in activation_units(manifest.app)}
    there |= set(release_units(manifest.app))
    wanted = {unit: name for name in names for unit in _units(manifest, activation, [name])} | {
        layout.release_unit(manifest.app, name, "timer"): name for name in schedule
    }
    return sorted({name for unit, name in wanted.items() if unit not in there})
