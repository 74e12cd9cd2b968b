"""Releases that a version before format 2 of fingerprints made: known again, so that no app gets a new one for it.

The controller computes the earlier fingerprint only when a host asks for it. To be deleted in a later version as one piece;
plugin_utils/release/format_1 says what belongs to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .lock import Locked
from .spec import PlanSpec
from .state import AppState, Manifest

#: What becomes of a release that its fingerprint decides. Of all others nobody compares it.
COMPARED = ("good", "prepared", "rolled_back")


def asked(manifests: Iterable[Manifest], spec: PlanSpec) -> bool:
    """Whether the controller has to say first what the fingerprint of *spec* was in format 1, as `former` of the spec.

    *manifests* are those that it would be compared with.
    """
    return "former" not in spec and any(":" not in manifest.fingerprint for manifest in manifests)


def today(manifest: Manifest, spec: PlanSpec) -> Manifest:
    """*manifest*, with the fingerprint of *spec* where it had that in format 1."""
    if spec.get("former") and manifest.fingerprint == spec["former"]:
        return replace(manifest, fingerprint=spec["fingerprint"])
    return manifest


def adopt(state: AppState, spec: PlanSpec) -> None:
    """Write the fingerprint of *spec* into the manifests that had it in format 1, so that nobody asks again.

    While a deploy of the app works on them, that is left to the next run.
    """
    if not spec.get("former"):
        return
    live = state.live_release()
    try:
        with state.working(seconds=0):
            for manifest in state.manifests():
                known = today(manifest, spec)
                if known != manifest and (manifest.status in COMPARED or manifest.release == live):
                    state.save(known)
    except (Locked, FileNotFoundError):
        return
