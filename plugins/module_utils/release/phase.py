"""What a phase of a release is: a row of the table in `phases.py`, and the two kinds of work that a row can have."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..host.release_error import ReleaseError
from . import environment, failure
from .abort import abort
from .lock import Lock
from .options import Options, Outcome
from .progress import note, note_took, taken
from .spec import ReleaseSpec
from .state import AppState, Manifest

#: Does a phase for one app. The first argument is the name of the phase.
Work = Callable[[str, ReleaseSpec, Options], Outcome]

#: What a phase is a part of; the lock calls it `kind`.
DEPLOY = "deploy"
ROLLBACK = "rollback"
#: What runs on one host of an app alone moves to another host, after the deploy.
LEAD = "lead"
#: Which commit a version is, before the plan of several hosts.
RESOLVE = "resolve"


class Told(enum.IntEnum):
    """How much of each app the controller sends for a phase."""

    #: The name. The phase works on what the host remembers.
    NAME = 0
    #: What a plan compares: revision and fingerprint.
    PLAN = 1
    #: All that a release is made of, its source and its secrets included.
    RELEASE = 2


@dataclass(frozen=True)
class Phase:
    name: str
    #: What it does, as the name of a task.
    does: str
    work: Work
    #: DEPLOY, ROLLBACK or both; or LEAD. A phase that is part of neither is only run by itself.
    part_of: tuple[str, ...] = ()
    told: Told = Told.NAME
    #: How many apps of a host go through it side by side.
    apps_at_once: int = 1
    #: How many hosts go through it side by side; 0: all of them.
    hosts_at_once: int = 0
    #: Whether the switch comes after it, or is it. Such a phase is not begun once nobody waits for the run any more. Over
    #: several hosts, an app that fails in it on one of them is called off on all.
    leads_to_switch: bool = False
    #: Whether only several hosts go through it, which have to agree on something.
    several_hosts: bool = False
    #: Whether only some hosts go through it, and only of an app that asks for a canary.
    canary: bool = False


def by_spec(work: Callable[[ReleaseSpec, Options], Outcome]) -> Work:
    """A phase on what the controller tells of an app."""

    def for_app(_: str, spec: ReleaseSpec, options: Options) -> Outcome:
        return work(spec, options)

    return for_app


def by_lock(work: Callable[[AppState, Lock, Manifest, Options], Outcome]) -> Work:
    """A phase on the release that the lock names. A failure ends the deploy."""

    def for_app(phase: str, spec: ReleaseSpec, options: Options) -> Outcome:
        state = AppState(spec["name"])
        if options.check_mode:
            return {"changed": True}
        with state.working(seconds=120):
            held = note(state, options, phase=phase)
            began = time.monotonic()
            try:
                manifest = state.manifest(held.release or "")
                if manifest is None:
                    raise ReleaseError(f"release {held.release} is gone or was never complete")
                environment.hide_secrets(state.app, manifest.release)
                outcome = work(state, held, manifest, options)
            except Exception as error:
                reason = failure.described(state.app, error) + _migrated_elsewhere(phase, spec, held)
                note_took(state, options, taken(held, phase, began))
                return abort(state, options, phase, reason)
            # Where the work is the last one, it has given the lock back.
            note_took(state, options, taken(held, phase, began))
            return outcome

    return for_app


def _migrated_elsewhere(phase: str, spec: ReleaseSpec, held: Lock) -> str:
    """A line for the failure of a start that may have its reason in a database that only another host has migrated."""
    first = spec.get("migrated_on")
    manifest = AppState(spec["name"]).manifest(held.release or "") if phase == "start" and first else None
    if manifest is None or not manifest.migrate:
        return ""
    return (
        f"\nThe database was migrated on {first} alone. If each host has one of its own, such as SQLite in a persistent "
        "directory, add `migrate_on: each` to the app."
    )
