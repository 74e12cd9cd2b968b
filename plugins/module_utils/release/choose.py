"""The phase `choose`: what a host can return to, so that the controller can choose one release for all hosts."""

from __future__ import annotations

from collections.abc import Iterator

from ..host.release_error import ReleaseError
from .lock import Lock
from .options import Choice, Options, Outcome
from .plan import rollback_switched
from .spec import ReleaseSpec
from .state import AppState, Manifest


def choose(spec: ReleaseSpec, options: Options) -> Outcome:
    """The live release, and those that it could be left for. Changes nothing."""
    state = AppState(spec["name"])
    live = state.live_release()
    if live is None:
        raise ReleaseError("nothing is live on this host, so there is nothing to leave.")
    outcome: Outcome = {"from": live, "changed": True, "choices": list(choices(state.manifests(), live))}
    if rollback_switched(state.lock() or Lock(), live):
        outcome["unfinished"] = True
    return outcome


def choices(manifests: list[Manifest], live: str) -> Iterator[Choice]:
    """The live release, then those that were live before it, the last one first, then all others that are whole."""
    current = next((one for one in manifests if one.release == live), None)
    order = sorted(manifests, key=lambda one: (one.went_live, one.made), reverse=True)
    before = [one for one in order if one.status == "good" and one.release != live]
    if current is not None:
        before = [one for one in before if one.went_live < current.went_live] or before
        yield _choice(current, current, True)
    for one in before:
        yield _choice(one, current, True)
    for one in order:
        if one.status != "failed" and one != current and one not in before:
            yield _choice(one, current, False)


def _choice(one: Manifest, current: Manifest | None, earlier: bool) -> Choice:
    return {
        "release": one.release,
        "revision": one.revision,
        "version": one.version,
        "earlier": earlier,
        "crosses": current is not None and current.migrations != one.migrations,
    }


def is_of(version: str, one: Choice) -> bool:
    """Whether *one* was made of *version*: a version as an inventory names it, or a commit, of which seven digits do."""
    return one["version"] == version or (len(version) >= 7 and one["revision"].startswith(version))
