"""How the apps of an emperor that is out of date move to a fresh one without a dropped request."""

from __future__ import annotations

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor

from ..app import front_sites
from ..files.atomic import write_atomically
from ..host import layout
from ..host.command import CommandFailed, run
from ..release import lifecycle, pythons
from ..release import workers as release_workers
from ..release.failure import Undoing, described
from ..release.lifecycle import SYSTEMD, Health, NotHealthy
from ..release.state import AppState
from ..systemd import unit_names
from . import old_sockets


def start_unit(emperor: str) -> None:
    run(["systemctl", "daemon-reload"], what="systemctl daemon-reload", timeout=60)
    run(
        ["systemctl", "enable", "--quiet", "--now", f"emperor@{emperor}"],
        what=f"starting emperor@{emperor}",
        timeout=60,
    )


def stop_unit(emperor: str) -> None:
    run(
        ["systemctl", "disable", "--quiet", f"emperor@{emperor}"],
        what=f"disabling emperor@{emperor}",
        timeout=60,
    )
    run(["systemctl", "stop", f"emperor@{emperor}"], what=f"stopping emperor@{emperor}", timeout=3700)


def choose(emperor: str) -> None:
    """Let new activations go to *emperor*."""
    write_atomically(f"{layout.CONFIG}/emperor", f"{emperor}\n", mode=0o644)


def apps_under(emperor: str) -> list[str]:
    """Names of the apps that have a vassal under *emperor*."""
    names = set()
    with contextlib.suppress(FileNotFoundError):
        for entry in os.listdir(layout.vassals(emperor)):
            owner, at, rest = entry.rpartition("@")
            if at and rest.endswith(".ini"):
                names.add(owner)
    return sorted(names)


def awaiting_deploy(emperor: str) -> list[str]:
    """Apps under *emperor* whose live releases were made for the Python that the host had before an upgrade of Debian.

    Their next deploy builds them for the Python of today. Until then what runs goes on where it is.
    """
    found = []
    for app in apps_under(emperor):
        state = AppState(app)
        manifest = state.manifest(state.live_release() or "")
        if manifest is not None and pythons.is_of_another_debian(manifest):
            found.append(app)
    return found


def move_app(app: str, emperor: str, http_port: int, fresh: bool = False) -> str | None:
    """Start the live release of *app* under *emperor*, switch, drain and stop the old one. Returns what moved.

    Where systemd runs the live one, no emperor has to: it is started anew only when *fresh* asks for that, or when its
    socket is where the app could put another one in its place.

    Raises NotHealthy; the old activation serves on then.
    """
    state = AppState(app)
    if not os.path.isdir(layout.state(app)):
        return None
    with state.working(seconds=120):
        old = state.live_activation()
        if old is None:
            return None
        settled = lifecycle.emperor_of(old) == emperor or (lifecycle.runner_of(old) == SYSTEMD and not fresh)
        if settled and lifecycle.is_out_of_reach(app, old):
            return None
        return _start_anew(state, old, emperor, http_port, "handover")


def restart_app(app: str, emperor: str, http_port: int) -> str:
    """Give *app* fresh processes as `move_app` does, wherever its live release runs. Returns the new activation.

    Raises NotHealthy; the old activation serves on then.
    """
    state = AppState(app)
    if os.path.isdir(layout.state(app)):
        with state.working(seconds=120):
            old = state.live_activation()
            if old is not None and (activation := _start_anew(state, old, emperor, http_port, "restart")):
                return activation
    raise NotHealthy("nothing is live that could be started anew: deploy it first")


def _start_anew(state: AppState, old: str, emperor: str, http_port: int, kind: str) -> str | None:
    """Start the release of *old*, which is live, under *emperor*, switch, drain and stop *old*; None without a release.

    The history calls that *kind*. Raises NotHealthy; *old* serves on then.
    """
    app = state.app
    manifest = state.manifest(str(state.release_of(old)))
    if manifest is None:
        return None
    health = Health.of(manifest)
    activation = lifecycle.start(state, manifest, emperor)
    try:
        lifecycle.wait_until_healthy(app, activation, health)
        release_workers.begin(state, manifest, activation)
        lifecycle.switch(state, activation)
        # No site leads to an app that has left the inventory without being removed, and runs on.
        if front_sites.own(app) or front_sites.of_other_apps(app):
            lifecycle.probe_through_front(health, 1, manifest.request_timeout, http_port)
        release_workers.replace(state, manifest, activation, old)
    except Exception as error:
        undoing = Undoing(app)
        undoing.step(f"switching back to {old}", lambda: lifecycle.switch(state, old))
        if state.live_activation() == old:
            undoing.step(
                f"letting {activation} finish its requests",
                lambda: lifecycle.drain(app, activation, manifest.request_timeout),
            )
            undoing.step(f"stopping {activation}", lambda: lifecycle.stop(state, activation))
        undoing.step("the workers of the live release", lambda: release_workers.follow(state))
        if undoing.problems:
            raise NotHealthy(described(app, error) + undoing.said()) from error
        raise
    lifecycle.drain(app, old, state.seconds_to_end(old))
    lifecycle.stop(state, old)
    state.remember({"kind": kind, "release": manifest.release, "activation": activation, "result": "good"})
    return activation


def drain_and_stop(state: AppState, activation: str) -> None:
    """End an activation that gets no new requests, when it is quiet or its requests have had their time.

    Raises Locked where a deploy of its app goes on meanwhile.
    """
    lifecycle.drain(state.app, activation, state.seconds_to_end(activation))
    with state.working(seconds=120):
        # A rollback may have come back to it.
        if activation != state.live_activation():
            lifecycle.stop(state, activation)


def end_all(left: list[tuple[AppState, str]]) -> None:
    """`drain_and_stop` for each of *left*. Raises Locked."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        # A deploy does not wait for what it keeps warm: right after one, it may have requests.
        list(pool.map(lambda one: drain_and_stop(*one), left))


def leave_old_sockets(app: str) -> None:
    """End what is left of *app* with a socket in its reach, and is not live; then remove the directories.

    Raises NotHealthy where what is live has its socket there still, and Locked.
    """
    state = AppState(app)
    live = state.live_activation()
    end_all([(state, activation) for activation in old_sockets.activations(app) if activation != live])
    old_sockets.leave(app)


def retire(emperor: str) -> None:
    """Stop an emperor whose live activations have all moved away."""
    left = []
    for app in apps_under(emperor):
        state = AppState(app)
        for owner, activation in list(lifecycle.vassals_of(app)):
            if owner == emperor and activation != state.live_activation():
                left.append((state, activation))
    end_all(left)
    deadline = time.monotonic() + 10
    while apps_under(emperor) and time.monotonic() < deadline:
        time.sleep(0.1)
    if apps_under(emperor):
        raise NotHealthy(f"emperor@{emperor} still runs {', '.join(apps_under(emperor))}")
    stop_unit(emperor)
    end_leftovers()


def end_leftovers() -> None:
    """End what activations have left behind whose vassals earlier versions started, which had no guard."""
    for scope, activation in unit_names.unguarded_scopes():
        if lifecycle.emperor_of(activation) is None:
            # It may have ended by itself.
            with contextlib.suppress(CommandFailed):
                run(["systemctl", "kill", "--signal=KILL", scope], what=f"ending {scope}", timeout=30)
