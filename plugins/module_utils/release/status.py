"""The phase `status`: what a host says of an app. Nothing changes."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import asdict

from ..host import control_groups, disk_quota, layout
from ..systemd import app_units
from . import lifecycle
from .lifecycle import Health, NotHealthy
from .options import Options, Outcome
from .spec import ReleaseSpec
from .state import AppState


def _maintenance_since(app: str) -> str | None:
    """Since when visitors get the page of maintenance; None where they reach the app."""
    with contextlib.suppress(FileNotFoundError):
        since = os.stat(layout.maintenance(app)).st_mtime
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))
    return None


def status(spec: ReleaseSpec, options: Options) -> Outcome:
    state = AppState(spec["name"])
    live = state.live_activation()
    manifest = state.manifest(state.live_release() or "")
    activations = [
        {
            **lifecycle.activation_summary(state.app, activation),
            "release": state.release_of(activation),
            "live": activation == live,
        }
        for _, activation in lifecycle.running_activations(state.app)
    ]
    units = app_units.summary(state.app, live)
    health = "nothing is live"
    if manifest is not None:
        try:
            lifecycle.probe_through_front(Health.of(manifest), 1, 10, options.http_port)
            health = "ok"
        except NotHealthy as error:
            health = str(error)
    return {
        "live": asdict(manifest) if manifest else None,
        "activations": activations,
        "workers": units["workers"],
        "timers": units["timers"],
        "health": health,
        "maintenance": _maintenance_since(state.app),
        "processor_divided": control_groups.divide_processor(),
        "disk": asdict(disk) if (disk := disk_quota.usage_of(state.app)) else None,
        "lock": lock.content() if (lock := state.lock()) else None,
        "releases": [
            {"release": m.release, "version": m.version, "status": m.status, "created": m.created}
            for m in state.manifests()
        ],
        "history": state.history(10),
    }
