"""The phases that bring a release live: migrate, start, switch, drain. Each works on what the lock says."""

from __future__ import annotations

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ..host import layout, output
from ..host.command import CommandFailed, run
from ..host.release_error import ReleaseError
from ..uwsgi.emperor_check import running_emperor
from . import confirm, environment, failure, lifecycle, workers
from .cleaning import clean_up, prune, warm_activation
from .lifecycle import Health, NotHealthy
from .lock import Lock
from .options import Options, Outcome
from .progress import entry, note, taken
from .state import AppState, Manifest

#: Seconds for a command of an app in a deploy.
PATIENCE = 1800.0


def run_hooks(manifest: Manifest, name: str, until: float | None = None) -> None:
    """Run the hooks *name*. *until*: by when, of the monotonic clock, they have to end."""
    for command in manifest.hooks.get(name, []):
        seconds = PATIENCE if until is None else _left(until)
        environment.run_line(manifest.app, manifest.release, command, f"hook {name}", timeout=seconds)


def _end_of_switch(options: Options) -> float | None:
    """When the switch of one app has to be over, of the monotonic clock; None on a host that is alone.

    Over several hosts nothing is confirmed before all apps of a host have switched: an app that takes its time, by a hook
    or by slow answers, would have all others of the run go back.
    """
    return time.monotonic() + options.confirm_within / 3 if options.confirm_within else None


def _left(until: float) -> float:
    """Seconds until then; one at least, for what comes last."""
    return max(until - time.monotonic(), 1.0)


def migrate(state: AppState, held: Lock, manifest: Manifest, options: Options) -> Outcome:
    live = state.live_activation()
    if live is not None and live == held.activation:
        return {"release": manifest.release}
    run_hooks(manifest, "before_migrate")
    said = ""
    if manifest.migrate:
        said = environment.run_line(state.app, manifest.release, manifest.migrate, "migrate")
    run_hooks(manifest, "after_migrate")
    return {"release": manifest.release, "changed": bool(manifest.migrate), "output": output.last(said, 2000)}


def start(state: AppState, held: Lock, manifest: Manifest, options: Options) -> Outcome:
    health = Health.of(manifest)
    activation = held.activation
    if activation and held.switched == activation:
        return {"activation": activation, "warm": True}
    if activation and lifecycle.runner_of(activation):
        # Warm: it runs already; that it answers is checked all the same.
        lifecycle.resume(manifest, activation)
        lifecycle.wait_until_healthy(state.app, activation, health)
        # Its workers ran well before. A rollback that is warm is not kept waiting: they are looked at after the switch.
        workers.begin(state, manifest, activation, wait=False)
        return {"activation": activation, "warm": True}
    run_hooks(manifest, "before_start")
    activation = lifecycle.start(state, manifest, options.emperor or running_emperor())
    note(state, options, activation=activation)
    requests = lifecycle.wait_until_healthy(state.app, activation, health)
    workers.begin(state, manifest, activation)
    run_hooks(manifest, "after_start")
    return {"activation": activation, "probes": requests, "changed": True}


def switch(state: AppState, held: Lock, manifest: Manifest, options: Options) -> Outcome:
    activation = held.activation
    if activation is None:
        raise ReleaseError("nothing was started that could be switched to: the phase start comes first")
    confirm.expect(state.app, options)
    live = state.live_activation()
    if held.switched == activation == live:
        return {"activation": activation, "release": manifest.release}
    if live != activation:
        # Before the switch, so that whoever takes it back knows: a failure on another host, or the run after this one.
        held = note(
            state,
            options,
            previous=live,
            switched_before=manifest.switched,
            live_as_before=float(manifest.live_as),
            status_before=manifest.status,
        )
    previous = held.previous
    health, until = Health.of(manifest), _end_of_switch(options)
    outcome: Outcome = {"activation": activation, "release": manifest.release, "changed": live != activation}
    try:
        if live != activation:
            if lifecycle.runner_of(activation) is None:
                raise NotHealthy(f"{activation} was stopped after it was started and probed")
            run_hooks(manifest, "before_switch", until)
            outcome["milliseconds"] = round(lifecycle.switch(state, activation), 2)
        seconds = float(manifest.request_timeout)
        if until is not None:
            seconds = min(seconds, _left(until) / health.answers)
        lifecycle.probe_through_front(health, health.answers, seconds, options.http_port)
        workers.replace(state, manifest, activation, previous)
        run_hooks(manifest, "after_switch", until)
    except Exception as error:
        back = failure.described(state.app, error)
        undoing = failure.Undoing(state.app)
        if state.live_activation() == activation:
            if previous not in (None, activation) and (live != activation or lifecycle.runner_of(previous)):
                undoing.step(f"switching back to {previous}", lambda: lifecycle.switch(state, previous))
                if state.live_activation() == previous:
                    back += f"\nSwitched back to {state.release_of(previous)}."
                undoing.step(
                    f"letting {activation} finish its requests",
                    lambda: lifecycle.drain(state.app, activation, manifest.request_timeout),
                )
            elif live != activation:
                # The first release: nothing answers rather than one that answers wrongly.
                undoing.step("taking it away", lambda: os.unlink(layout.active(state.app)))
        # Else an earlier run switched, and the one before it runs no more: what is live is all there is.
        raise NotHealthy(back + undoing.said()) from error
    if held.kind == "rollback" and previous:
        left = state.release_of(previous)
        if left and left != manifest.release:
            state.mark(left, status="rolled_back", reason=f"rolled back to {manifest.release}")
    serial = state.activation_serial(activation)
    state.mark(manifest.release, status="good", switched=time.time(), live_as=serial, reason="")
    note(state, options, switched=activation, milliseconds=outcome.get("milliseconds"))
    return outcome


def drain(state: AppState, held: Lock, manifest: Manifest, options: Options) -> Outcome:
    began = time.monotonic()
    live = state.live_activation()
    run_hooks(manifest, "before_drain")
    outcome: Outcome = {"release": manifest.release, "activation": live, "changed": True}
    warm = warm_activation(state) if options.keep_warm > 0 and not options.emperor else None
    previous = held.previous
    others = [name for _, name in lifecycle.running_activations(state.app) if name != live]
    seconds = {name: state.seconds_to_end(name) for name in others}
    # What is kept for longer than its requests may take is not waited for, unless a hook wants it quiet.
    at_leisure = {
        name
        for name in others
        if name == previous == warm
        and options.keep_warm > seconds[name]
        and not manifest.hooks.get("after_drain")
    }
    awaited = [name for name in others if name not in at_leisure]
    with ThreadPoolExecutor() as pool:
        # Old releases go meanwhile: the files of one take as long to delete as its activation takes to be quiet.
        pruning = pool.submit(prune, state, options)
        idle = pool.map(
            lambda name: lifecycle.drain(
                state.app,
                name,
                seconds[name],
                lifecycle.JUST_LEFT if name == previous else lifecycle.LONG_LEFT,
            ),
            awaited,
        )
        busy = [name for name, is_idle in zip(awaited, idle, strict=True) if not is_idle]
        warnings = pruning.result()
    for activation in others:
        if activation in busy:
            outcome["cut_off"] = activation
        elif activation == previous == warm:
            _retire_later(state.app, activation, options.keep_warm)
            outcome["warm"] = activation
            continue
        lifecycle.stop(state, activation)
    warnings += clean_up(state)
    run_hooks(manifest, "after_drain")
    # Those that ran until now.
    warnings += prune(state, options)
    if warnings:
        # What was tried twice is said once.
        outcome["warnings"] = list(dict.fromkeys(warnings))
    held = replace(held, took=taken(held, "drain", began))
    state.remember(entry(held, options, "drain", "good"))
    outcome["seconds"] = held.seconds
    outcome["milliseconds"] = held.milliseconds
    outcome["took"] = held.took
    outcome["url"] = lifecycle.url_of(manifest, options.http_port)
    state.unlock()
    return outcome


def _retire_later(app: str, activation: str, seconds: int) -> None:
    """Let systemd end the warm activation in *seconds*, unless it is live again by then."""
    unit = f"emperor-stack-retire-{activation.replace('@', '-')}"
    # It may have been warm before, and have come back by a rollback.
    with contextlib.suppress(CommandFailed):
        run(["systemctl", "stop", f"{unit}.timer"], what="stopping the earlier timer", timeout=30)
    run(
        ["systemd-run", "--quiet", "--collect", f"--unit={unit}", f"--on-active={seconds}"]
        + [f"{layout.LIBRARY}/retire", app, activation],
        what="scheduling the end of the warm activation",
        timeout=30,
    )
