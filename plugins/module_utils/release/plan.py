"""The phase `plan`: whether an app needs a new release."""

from __future__ import annotations

import os
import socket
from typing import Any

from ..host import layout
from ..source.fetch import version_of
from ..source.references import NoSuchVersion, resolve_git
from . import build, lifecycle, pythons, takeover, venv, workers
from .lock import Lock
from .options import Options, Outcome
from .spec import ReleaseSpec
from .state import HISTORY_LINES, AppState, Manifest

#: What a plan says of an app of which it has to know more; the controller then asks again.
TO_COMPARE: Outcome = {
    "action": "compare",
    "why": "its release was made by an earlier version, whose fingerprint is compared first",
}


def plan(spec: ReleaseSpec, options: Options) -> Outcome:
    """Compare what is wanted with what is live. Asks the git remote, where the version is no commit id."""
    app = spec["name"]
    state = AppState(app)
    live = state.live_release()
    manifest = state.manifest(live) if live else None
    source = spec["source"]
    revision = spec.get("digest") or spec.get("commit")
    if revision is None:
        if not os.path.exists("/usr/bin/git") and options.check_mode:
            return {"action": "deploy", "why": "nothing is set up yet", "changed": True}
        revision = _resolved(spec, options)
        if revision is None:
            return {"live": live, "action": "held", "why": not_pushed(app, str(source["version"]))}
    outcome: Outcome = {"live": live, "revision": revision, "action": "none"}
    if "leads" in spec and spec["leads"] is not state.leads():
        outcome |= {"lead": "gain" if spec["leads"] else "lose", "changed": True}
    outcome |= {"wanted_version": version_of(source, revision), "wanted_revision": revision}
    if manifest is not None:
        outcome |= {"live_version": manifest.version, "live_revision": manifest.revision}
    if not options.check_mode:
        takeover.adopt(state, spec)
        pythons.name_in_venvs(app)
    if manifest is not None:
        if manifest.revision == revision and takeover.asked([manifest], spec):
            return {**outcome, **TO_COMPARE}
        manifest = takeover.today(manifest, spec)
    left = state.lock()
    if left is not None and manifest is not None:
        # An unfinished rollback is finished too, whatever the inventory wants: what it left is held back then.
        unfinished = rollback_switched(left, live) or matches(manifest, spec, revision)
    else:
        unfinished = False
    if unfinished:
        return {**outcome, "action": "finish", "why": "an earlier run did not finish", "changed": True}
    why = difference(manifest, spec["fingerprint"], revision, build.wanted_python(spec), options.force)
    if why is None:
        running = state.live_activation()
        if lifecycle.runner_of(running) is None:
            return {**outcome, "action": "deploy", "why": f"{running} has no vassal", "changed": True}
        if manifest and (missing := workers.missing(manifest, str(running))):
            return {**outcome, "action": "deploy", "why": f"{missing[0]} has no unit", "changed": True}
        return outcome
    others = [
        m for m in state.manifests() if m.revision == revision and m.status in ("rolled_back", "prepared")
    ]
    if takeover.asked(others, spec):
        return {**outcome, **TO_COMPARE}
    if not options.force and (held := _rolled_back(others, spec, revision)):
        return {**outcome, "action": "held", "why": held}
    known = names(state.manifests(), spec, revision)
    return {**outcome, "action": "deploy", "why": why, "changed": True, **known}


def _rolled_back(others: list[Manifest], spec: ReleaseSpec, revision: str) -> str:
    """What to do where one of *others* is what is wanted and was rolled back; empty where none is."""
    held = [
        m
        for m in others
        # A Python that the app asks for is a setting; one that came with an upgrade of the host makes nothing better.
        if m.status == "rolled_back"
        and matches(takeover.today(m, spec), spec, revision)
        and spec.get("python") in (None, m.python)
    ]
    if not held:
        return ""
    return (
        f"{held[-1].release} was rolled back; deploy it anyway with -e app={spec['name']} -e force=true, or change the "
        "app's version"
    )


def names(manifests: list[Manifest], spec: ReleaseSpec, revision: str) -> Outcome:
    """What a host knows of names of releases, so that one is found that is free on all hosts, or used again."""
    ready = [m.release for m in manifests if m.status == "prepared" and matches(m, spec, revision)]
    said: Outcome = {"taken": [m.release for m in manifests if m.status not in ("prepared", "failed")]}
    return {**said, "ready": ready[-1]} if ready else said


def _resolved(spec: ReleaseSpec, options: Options) -> str | None:
    """The commit that is wanted; None where that is yet to be pushed to this host. Raises ReleaseError."""
    try:
        return resolve_git(spec["source"], spec.get("key"))
    except NoSuchVersion:
        if spec["source"].get("git") != layout.pushed_url(spec["name"]) or by_hand(options):
            raise
        return None


def by_hand(options: Options) -> bool:
    """Whether the run is one of the command `emperor`, or of a login, and not a controller's."""
    return options.owner.get("controller") == socket.gethostname()


def not_pushed(app: str, version: str) -> str:
    """Why an app that is deployed from pushes has nothing to deploy. No failure: its code comes when it comes."""
    user = layout.login_user(app)
    return f"{version} was not pushed yet; the first push deploys it: git push {user}@HOST:{app} {version}"


def rollback_switched(left: Lock, live: str | None) -> bool:
    """Whether the run that left this lock was a rollback that had switched already."""
    return live is not None and left.kind == "rollback" and left.release == live


def matches(manifest: Manifest, spec: ReleaseSpec, revision: str) -> bool:
    return manifest.fingerprint == spec["fingerprint"] and manifest.revision == revision


def deployed_here_by(live: Manifest) -> str:
    """Who deployed the release *live* by the command `emperor` on this host; empty where a controller did."""
    lines = [one for one in AppState(live.app).history(HISTORY_LINES) if one.get("release") == live.release]
    last: dict[str, Any] = next((one for one in reversed(lines) if one.get("kind") == "deploy"), {})
    return str(last.get("who") or "") if last.get("controller") == socket.gethostname() else ""


def difference(
    manifest: Manifest | None, fingerprint: str, revision: str, python: str, force: bool
) -> str | None:
    """Why a new release is wanted, None when the live one is what is wanted."""
    if manifest is None:
        return "nothing is live"
    if manifest.revision != revision:
        by = deployed_here_by(manifest)
        # First: the table of the plan cuts long lines, and has the revisions beside it.
        here = f"{by} deployed it on the host; " if by else ""
        return f"{here}revision {manifest.revision[:7]} is live, {revision[:7]} is wanted"
    if manifest.fingerprint != fingerprint:
        return "its settings changed"
    if manifest.python != python:
        return (
            f"it was built for Python {manifest.python}, {python} is wanted; the versions of its venv are "
            "kept if possible"
        )
    if venv.is_outdated(manifest.own_server):
        return f"its own uWSGI is {manifest.own_server}, {venv.OWN_SERVER} is wanted"
    return "forced" if force else None
