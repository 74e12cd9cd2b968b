"""The phase `rollback`: choose the release to go back to."""

from __future__ import annotations

from ..host.release_error import ReleaseError
from . import pythons
from .choose import choices, is_of
from .cleaning import warm_activation
from .lock import Lock
from .options import Options, Outcome
from .plan import rollback_switched
from .progress import adopt, note
from .spec import ReleaseSpec
from .state import AppState, Manifest


def rollback(spec: ReleaseSpec, options: Options) -> Outcome:
    """Choose the release to go back to and take the lock.

    Where that release is still warm, `switch_now` of the outcome says so: every second counts then.
    """
    state = AppState(spec["name"])
    live = state.live_release()
    left = state.lock() or Lock()
    wanted = spec.get("to_release") or options.to_release
    finishes = wanted == live if wanted else not options.to_version
    if finishes and rollback_switched(left, live):
        # It had switched when it died. Going back once more would be one release too far.
        outcome: Outcome = {"release": live, "from": state.release_of(left.previous), "changed": True}
        return outcome if options.check_mode else {**outcome, **adopt(spec, options), "warm": True}
    target = _target(state, live, wanted, options.to_version)
    _check_python(state, target)
    current = state.manifest(live) if live else None
    crosses = current is not None and current.migrations != target.migrations
    if crosses and not options.across_migration:
        raise ReleaseError(
            f"the migrations changed between {target.release} and the live {live}, and a rollback does "
            "not undo them. If the older code works with the newer database, add -e "
            "across_migration=true."
        )
    outcome = {
        "release": target.release,
        "from": live,
        "crosses_migration": crosses,
        "changed": True,
    }
    if options.check_mode:
        return outcome
    with state.working(seconds=120 if options.dead or options.break_lock else 5):
        state.take_lock(options.owner, options.dead, options.break_lock)
        try:
            warm = warm_activation(state)
            if warm is not None and state.release_of(warm) != target.release:
                warm = None
            note(
                state,
                options,
                kind="rollback",
                release=target.release,
                activation=warm,
                warm=warm is not None,
            )
        except BaseException:
            # Nothing was done yet that the next run would have to know of.
            state.unlock()
            raise
    return {**outcome, "warm": warm is not None, "switch_now": warm is not None}


def _check_python(state: AppState, target: Manifest) -> None:
    """Raises ReleaseError where *target* cannot be started since Debian was upgraded. One that still runs needs no start."""
    if state.release_of(warm_activation(state)) != target.release and (why := pythons.obstacle(target)):
        others = [m.release for m in state.manifests() if m.status == "good" and m.release != target.release]
        raise ReleaseError(
            f"{target.release} cannot be started: {why}. Nothing was changed. Deploy its version instead, which builds it "
            f"for this host: deploy.yml -e app={target.app} -e version={target.version}"
            + (f". Or choose another release: {', '.join(others)}" if others else "")
        )


def _target(state: AppState, live: str | None, release: str | None, version: str | None) -> Manifest:
    """The release to go back to: *release*, or the last one of *version* that was live, or the last one that was.

    Raises ReleaseError where there is none.
    """
    if version and not release:
        found = [one for one in choices(state.manifests(), live or "") if is_of(version, one)]
        if not found:
            raise ReleaseError(_unknown(state, live, version))
        release = found[0]["release"]
    if release:
        target = state.manifest(release)
        if target is None or target.status == "failed":
            raise ReleaseError(_unknown(state, live, release))
    else:
        target = state.previous_good()
        if target is None:
            raise ReleaseError("there is no earlier good release on this host to go back to.")
    if target.release == live:
        raise ReleaseError(f"{live} is live already.")
    return target


def _unknown(state: AppState, live: str | None, wanted: str) -> str:
    known = (
        f"{m.release} ({m.version})" for m in state.manifests() if m.status != "failed" and m.release != live
    )
    return f"there is no good release {wanted} here. Available: {', '.join(known) or 'none'}."
