"""The phase `prepare`: take the lock, and make a whole release."""

from __future__ import annotations

import contextlib
import os
import time

from ..files import trees
from ..host import layout
from ..host.release_error import ReleaseError
from ..source import fetch
from . import build, failure, known_app, readiness, uploads
from .abort import abort
from .cleaning import clean_up
from .options import Options, Outcome
from .plan import matches
from .progress import Steps, adopt, note, note_took
from .spec import ReleaseSpec
from .state import RELEASE_ID, AppState, Manifest, now


def prepare(spec: ReleaseSpec, options: Options) -> Outcome:
    """Make the release; or take up what a dead run has to finish."""
    finishes = not options.check_mode and (
        spec.get("action") == "finish" or _switched_meanwhile(spec, options)
    )
    outcome = adopt(spec, options) if finishes else _new_release(spec, options)
    if spec.get("migrated_on"):
        # Another host of the app does, in the same database.
        outcome["done"] = ["migrate"]
    return outcome


def _switched_meanwhile(spec: ReleaseSpec, options: Options) -> bool:
    """Whether the release that all hosts are to have went live after the plan, by the last phase of a dead run."""
    named = spec.get("release")
    if named is None:
        return False
    state = AppState(spec["name"])
    with state.working(seconds=_patience(options)):
        left = state.lock()
        return left is not None and left.release == named == state.live_release()


def _patience(options: Options) -> int:
    """Seconds to wait for a phase that goes on: that of a dead run comes to its end."""
    return 120 if options.dead or options.break_lock else 5


def _new_release(spec: ReleaseSpec, options: Options) -> Outcome:
    app, named = spec["name"], spec.get("release")
    state = AppState(app)
    if options.check_mode:
        return {"changed": True}
    readiness.check(spec)
    with state.working(seconds=_patience(options)):
        state.take_lock(options.owner, options.dead, options.break_lock)
        release, steps = None, Steps(lambda step: options.steps.begin(app, step))
        try:
            steps.warnings += clean_up(state)
            ready = [
                m
                for m in state.manifests()
                if m.status == "prepared"
                and m.python == build.wanted_python(spec)
                and matches(m, spec, spec["revision"])
                and named in (None, m.release)
            ]
            if ready:
                note(state, options, release=ready[-1].release)
                return {"release": ready[-1].release, "changed": True, "reused": True, **steps.warned()}
            release = _given(state, named) if named else _unused_release_id(state, spec["revision"])
            note(state, options, release=release)
            build.prepare(
                spec, spec["revision"], release, options.uv_environment, steps.say, options.interpreters
            )
            steps.warnings += uploads.unreadable(app, spec.get("persistent_directories") or ())
        except Exception as error:
            reason = failure.described(app, error)
            note_took(state, options, steps.end())
            if release is not None:
                _keep_failed(state, spec, release)
                if isinstance(error, trees.TreeRefused):
                    # Nobody can look at it with the usual tools, and it may be what fills the disk.
                    steps.warnings += _rubbish_removed(state.app, release)
                    reason += ". Its code, venv and public files were deleted"
            return {**abort(state, options, "prepare", reason), **steps.warned()}
        note_took(state, options, steps.end())
        known_app.keep(spec, options)
        return {"release": release, "changed": True, **steps.warned()}


def _rubbish_removed(app: str, release: str) -> list[str]:
    """Delete the trees of a release of which one was refused. Returns warnings."""
    directory = layout.release(app, release)
    try:
        trees.remove(*(f"{directory}/{name}" for name in ("code", "venv", "public")))
    except ReleaseError as error:
        return [str(error)]
    return []


def _given(state: AppState, release: str) -> str:
    """*release*, the name that it has on all hosts, made free where an earlier run could not finish a release of that name.

    Raises ReleaseError.
    """
    if not RELEASE_ID.match(release):
        raise ReleaseError(f"{release} is no name of a release")
    there = state.manifest(release)
    if there is not None and (there.status not in ("prepared", "failed") or release == state.live_release()):
        raise ReleaseError(f"this host has another release {release}: run the playbook again")
    if os.path.lexists(layout.release(state.app, release)):
        state.remove_release(release)
    return release


def _unused_release_id(state: AppState, revision: str) -> str:
    while True:
        release = build.new_release_id(revision)
        if not os.path.lexists(layout.release(state.app, release)):
            return release
        time.sleep(0.2)


def _keep_failed(state: AppState, spec: ReleaseSpec, release: str) -> None:
    """A release that failed to build stays for a look, with a manifest that says so."""
    with contextlib.suppress(Exception):
        os.makedirs(layout.release(state.app, release), exist_ok=True)
        state.add(
            Manifest(
                app=state.app,
                release=release,
                revision=spec["revision"],
                version=fetch.version_of(spec["source"], spec["revision"]),
                fingerprint=spec["fingerprint"],
                python="",
                created=now(),
                health=spec["health"],
                host=spec["domains"][0],
                status="failed",
            )
        )
