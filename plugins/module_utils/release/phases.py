"""The phases of a release on a host, each for many apps: what the module `release` runs."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from ..files import trees
from ..host import disk_quota, layout, output
from ..host.command import CommandFailed, run
from ..host.release_error import ReleaseError
from ..source import fetch
from ..systemd import app_process, app_units
from ..uwsgi.emperor_check import running_emperor
from . import build, failure, lifecycle, takeover
from . import venv as release_venv
from . import workers as release_workers
from .lifecycle import Health, NotHealthy
from .spec import ReleaseSpec
from .state import AppState, Locked, Manifest, now, prunable, seconds_since_start

Spec = ReleaseSpec
Outcome = dict[str, Any]

#: Apps that are prepared side by side: a build is a mix of network, disk and one core.
PREPARED_AT_ONCE = 2


@dataclass(frozen=True)
class Options:
    owner: Mapping[str, Any] = field(default_factory=dict)
    dead: Sequence[str] = ()
    break_lock: bool = False
    again: bool = False
    to_release: str | None = None
    across_migration: bool = False
    emperor: str | None = None
    keep_releases: int = 5
    keep_warm: int = 600
    uv_environment: Mapping[str, str] = field(default_factory=dict)
    interpreters: Mapping[str, str] = field(default_factory=dict)
    http_port: int = 80
    check_mode: bool = False


class Steps:
    """What the making of a release said: how long each of its steps took, in seconds, and warnings."""

    def __init__(self) -> None:
        self.took: dict[str, float] = {}
        self.warnings: list[str] = []
        self._step, self._began = "", time.monotonic()

    def say(self, text: str) -> None:
        """Begin step *text*, or keep a `warning: …`."""
        if text.startswith("warning: "):
            self.warnings.append(text.removeprefix("warning: "))
            return
        self.end()
        self._step = text

    def end(self) -> dict[str, float]:
        """End the step that runs. Returns the seconds of all."""
        ended = time.monotonic()
        if self._step:
            self.took[self._step] = round(ended - self._began, 2)
        self._step, self._began = "", ended
        return self.took

    def warned(self) -> Outcome:
        """The warnings as a part of an outcome."""
        return {"warnings": self.warnings} if self.warnings else {}


def _each(
    work: Callable[[Spec, Options], Outcome], at_once: int = 1
) -> Callable[[Sequence[Spec], Options], dict[str, Outcome]]:
    """Make a phase of *work*: all apps, each failure kept to its app."""

    def one(spec: Spec, options: Options) -> Outcome:
        if "refused" in spec:
            # The controller cannot read its source.
            return {"error": spec["refused"]}
        try:
            return work(spec, options)
        except Locked as error:
            return {"error": str(error), "locked": error.holder}
        except Exception as error:
            return {"error": failure.described(spec["name"], error)}

    def phase(specs: Sequence[Spec], options: Options) -> dict[str, Outcome]:
        with ThreadPoolExecutor(max_workers=at_once) as pool:
            outcomes = pool.map(lambda spec: one(spec, options), specs)
            return {spec["name"]: outcome for spec, outcome in zip(specs, outcomes, strict=True)}

    return phase


# plan

#: What a plan says of an app of which it has to know more; the controller then asks again.
TO_COMPARE: Outcome = {
    "action": "compare",
    "why": "an earlier version made its release, which is to be compared in that version's way",
}


def _plan(spec: Spec, options: Options) -> Outcome:
    """Compare what is wanted with what is live. Asks the git remote, where the version is no commit id."""
    app = spec["name"]
    state = AppState(app)
    live = state.live_release()
    manifest = state.manifest(live) if live else None
    source = spec["source"]
    revision = spec.get("digest")
    if revision is None:
        if not os.path.exists("/usr/bin/git") and options.check_mode:
            return {"action": "deploy", "why": "nothing is set up yet", "changed": True}
        revision = fetch.resolve_git(source, spec.get("key"))
    outcome: Outcome = {"live": live, "revision": revision, "action": "none"}
    if not options.check_mode:
        takeover.take_over(state, spec)
    if manifest is not None:
        if manifest.revision == revision and takeover.asked([manifest], spec):
            return {**outcome, **TO_COMPARE}
        manifest = takeover.today(manifest, spec)
    left = state.lock()
    if left is not None and manifest is not None:
        # An unfinished rollback is finished too, whatever the inventory wants: what it left is held back then.
        unfinished = _rolled_back_to(left, live) or _is(manifest, spec, revision)
    else:
        unfinished = False
    if unfinished:
        return {**outcome, "action": "finish", "why": "an earlier run did not finish", "changed": True}
    why = difference(manifest, spec["fingerprint"], revision, _python(spec), options.again)
    if why is None:
        running = state.live_activation()
        if lifecycle.runner_of(running) is None:
            return {**outcome, "action": "deploy", "why": f"{running} has no vassal", "changed": True}
        if manifest and (missing := release_workers.missing(manifest, str(running))):
            return {**outcome, "action": "deploy", "why": f"{missing[0]} has no unit", "changed": True}
        return outcome
    others = [
        m for m in state.manifests() if m.revision == revision and m.status in ("rolled_back", "prepared")
    ]
    if takeover.asked(others, spec):
        return {**outcome, **TO_COMPARE}
    held = [
        m
        for m in others
        # A Python that the app asks for is a setting; one that came with an upgrade of the host makes nothing better.
        if m.status == "rolled_back"
        and _is(takeover.today(m, spec), spec, revision)
        and spec.get("python") in (None, m.python)
    ]
    if held and not options.again:
        return {
            **outcome,
            "action": "held",
            "why": f"{held[-1].release} was rolled back; deploy it on purpose with -e app={app} -e force=true, "
            "or give the app another version",
        }
    return {**outcome, "action": "deploy", "why": why, "changed": True}


def _rolled_back_to(left: Mapping[str, Any], live: str | None) -> bool:
    """Whether the run that left this lock was a rollback that had switched already."""
    return live is not None and left.get("kind") == "rollback" and left.get("release") == live


def _is(manifest: Manifest, spec: Spec, revision: str) -> bool:
    return manifest.fingerprint == spec["fingerprint"] and manifest.revision == revision


def _python(spec: Spec) -> str:
    return build.wanted_python(spec)


def difference(
    manifest: Manifest | None, fingerprint: str, revision: str, python: str, again: bool
) -> str | None:
    """Why a new release is wanted, None when the live one is what is wanted."""
    if manifest is None:
        return "nothing is live"
    if manifest.revision != revision:
        return f"revision {manifest.revision[:7]} is live, {revision[:7]} is wanted"
    if manifest.fingerprint != fingerprint:
        return "its settings changed"
    if manifest.python != python:
        return (
            f"it was built for Python {manifest.python}, {python} is wanted; "
            "the versions of its venv are kept where they can be"
        )
    if release_venv.is_outdated(manifest.own_server):
        return f"its own uWSGI is {manifest.own_server}, {release_venv.OWN_SERVER} is wanted"
    return "forced" if again else None


# prepare


def _clean_up(state: AppState) -> list[str]:
    """Undo what a run that died left: commands, parts of releases, and activations that are neither live nor warm.

    Returns warnings.
    """
    # First: they may still write to what is removed here.
    app_process.end_left(state.app)
    warnings = _removed(state, state.partial_releases())
    live = state.live_activation()
    keep = {live, _warm(state)}
    for _, activation in list(lifecycle.running_activations(state.app)):
        if activation not in keep:
            served = state.manifest(str(state.release_of(activation)))
            if served is not None and served.switched:
                lifecycle.drain(state.app, activation, state.seconds_to_end(activation))
            lifecycle.stop(state, activation)
    for activation in state.activation_names():
        if activation not in keep:
            lifecycle.stop(state, activation)
    release_workers.follow(state)
    return warnings


def _removed(state: AppState, releases: Iterable[str]) -> list[str]:
    """Remove *releases*. Returns what could not be deleted, which ends no deploy: the next run tries again."""
    warnings = []
    for name in releases:
        try:
            state.remove_release(name)
        except (ReleaseError, OSError) as error:
            warnings.append(str(error))
    return warnings


def _warm(state: AppState) -> str | None:
    """The activation that still runs for a rollback: the one that served before the live one."""
    live = state.live_activation()
    good = {m.release for m in state.manifests() if m.status == "good"}
    others = [
        activation
        for _, activation in lifecycle.running_activations(state.app)
        if activation != live and state.release_of(activation) in good
    ]
    return max(others, key=lambda name: int(name.rpartition("@")[2]), default=None)


def _prepare(spec: Spec, options: Options) -> Outcome:
    app = spec["name"]
    state = AppState(app)
    if options.check_mode:
        return {"changed": True}
    with state.working(seconds=120 if options.dead or options.break_lock else 5):
        state.take_lock(dict(options.owner), list(options.dead), options.break_lock)
        release, steps = None, Steps()
        try:
            steps.warnings += _clean_up(state)
            ready = [
                m
                for m in state.manifests()
                if m.status == "prepared" and m.python == _python(spec) and _is(m, spec, spec["revision"])
            ]
            if ready:
                _note(state, options, release=ready[-1].release)
                return {"release": ready[-1].release, "changed": True, "reused": True, **steps.warned()}
            release = _unused_release_id(state, spec["revision"])
            _note(state, options, release=release)
            build.prepare(
                spec, spec["revision"], release, options.uv_environment, steps.say, options.interpreters
            )
        except Exception as error:
            reason = failure.described(app, error)
            _note_took(state, options, steps.end())
            if release is not None:
                _keep_failed(state, spec, release)
                if isinstance(error, trees.TreeRefused):
                    # Nobody can look at it with the usual tools, and it may be what fills the disk.
                    steps.warnings += _rubbish_removed(state.app, release)
                    reason += ". Its code, venv and public files were deleted"
            return {**_failed(state, options, "prepare", reason), **steps.warned()}
        _note_took(state, options, steps.end())
        return {"release": release, "changed": True, **steps.warned()}


def _rubbish_removed(app: str, release: str) -> list[str]:
    """Delete the trees of a release of which one was refused. Returns warnings."""
    directory = layout.release(app, release)
    try:
        trees.remove(*(f"{directory}/{name}" for name in ("code", "venv", "public")))
    except ReleaseError as error:
        return [str(error)]
    return []


def _unused_release_id(state: AppState, revision: str) -> str:
    while True:
        release = build.new_release_id(revision)
        if not os.path.lexists(layout.release(state.app, release)):
            return release
        time.sleep(0.2)


def _keep_failed(state: AppState, spec: Spec, release: str) -> None:
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
                health=dict(spec["health"]),
                host=spec["domains"][0],
                status="failed",
            )
        )


def _note(state: AppState, options: Options, **content: Any) -> dict[str, Any]:
    """Write into the lock how far the deploy is, so that the next phase, or the next run, knows."""
    held = state.held_lock(options.owner["token"])
    held.update(content)
    state.write_lock(held)
    return held


def _failed(state: AppState, options: Options, phase: str, reason: str) -> Outcome:
    """End a deploy that failed in *phase*: its activation stopped, its release marked, history written, lock given back.

    Where the new release is live already (a hook of the drain failed, say), it stays so and stays good.
    """
    # Before anything is pruned, which may make room.
    if hint := disk_quota.hint(state.app):
        reason = f"{reason}\n{hint}"
    undoing = failure.Undoing(state.app)
    held = undoing.step("reading the lock", state.lock) or {}
    release, activation = held.get("release"), held.get("activation")
    if activation and activation != state.live_activation() and not held.get("warm"):
        undoing.step(f"stopping {activation}", lambda: lifecycle.stop(state, activation))
    undoing.step("the workers of what is live", lambda: release_workers.follow(state))
    serving = state.live_release()
    failed = release if release != serving and held.get("kind") != "rollback" else None
    if failed:
        undoing.step("marking the release", lambda: state.mark(failed, status="failed", reason=reason))
    undoing.step("pruning old releases", lambda: _all_gone(_prune(state, options)))
    entry = _entry(held, options, phase, "failed", reason)
    undoing.step("writing the history", lambda: state.remember(entry))
    undoing.step("giving the lock back", state.unlock)
    still = f"{serving} serves on" if serving else "nothing was live before, and nothing is now"
    kept = f" The failed release is kept at {layout.release(state.app, failed)}." if failed else ""
    return {
        "error": f"{phase}: {reason}{undoing.said()}\n{still}.{kept}",
        "phase": phase,
        "release": release,
        "changed": True,
    }


def _taken(held: Mapping[str, Any], step: str, began: float) -> dict[str, float]:
    """The seconds of each step so far, with *step*, which has begun at *began* of the monotonic clock."""
    took = dict(held.get("took", {}))
    # A rollback that is warm goes through some of them twice.
    took[step] = round(took.get(step, 0) + time.monotonic() - began, 2)
    return took


def _note_took(state: AppState, options: Options, took: Mapping[str, float]) -> None:
    """Write the seconds of the steps so far into the lock. No deploy fails for the want of them."""
    with contextlib.suppress(Exception):
        if state.lock() is not None:
            _note(state, options, took=took)


def _entry(
    held: Mapping[str, Any], options: Options, phase: str, result: str, reason: str = ""
) -> dict[str, Any]:
    return {
        "kind": held.get("kind", "deploy"),
        "who": options.owner.get("who"),
        "controller": options.owner.get("controller"),
        "release": held.get("release"),
        "activation": held.get("activation"),
        "seconds": seconds_since_start(held),
        "phase": phase,
        "result": result,
        "took": held.get("took", {}),
        **({"reason": reason[:2000]} if reason else {}),
    }


def _all_gone(warnings: list[str]) -> None:
    """Raises ReleaseError with the *warnings*, where there are some."""
    if warnings:
        raise ReleaseError("; ".join(warnings))


def _prune(state: AppState, options: Options) -> list[str]:
    """Remove the releases that are kept for nothing. Returns warnings."""
    live = state.live_release()
    in_use = {state.release_of(name) for _, name in lifecycle.running_activations(state.app)} - {None}
    held = state.lock()
    if held and held.get("release"):
        in_use.add(held["release"])
    gone = prunable(state.manifests(), live, options.keep_releases, {str(n) for n in in_use})
    return _removed(state, gone)


# migrate, start, switch, drain: they work on what the lock says


def _with_lock(
    phase: str, work: Callable[[AppState, dict[str, Any], Manifest, Options], Outcome]
) -> Callable[[Spec, Options], Outcome]:
    """A phase on the release that the lock names. A failure ends the deploy."""

    def wrapped(spec: Spec, options: Options) -> Outcome:
        state = AppState(spec["name"])
        if options.check_mode:
            return {"changed": True}
        with state.working(seconds=120):
            held = _note(state, options, phase=phase)
            began = time.monotonic()
            try:
                manifest = state.manifest(str(held.get("release")))
                if manifest is None:
                    raise ReleaseError(f"release {held.get('release')} is gone or was never whole")
                build.hide_secrets(state.app, manifest.release)
                outcome = work(state, held, manifest, options)
            except Exception as error:
                reason = failure.described(state.app, error)
                _note_took(state, options, _taken(held, phase, began))
                return _failed(state, options, phase, reason)
            # Where the work is the last one, it has given the lock back.
            _note_took(state, options, _taken(held, phase, began))
            return outcome

    return wrapped


def _hooks(manifest: Manifest, name: str) -> None:
    for command in manifest.hooks.get(name, []):
        build.run_app_command(manifest.app, manifest.release, command, f"hook {name}")


def _migrate(state: AppState, held: dict[str, Any], manifest: Manifest, options: Options) -> Outcome:
    if held.get("activation") == state.live_activation() is not None:
        return {"release": manifest.release}
    _hooks(manifest, "before_migrate")
    said = ""
    if manifest.migrate:
        said = build.run_app_command(state.app, manifest.release, manifest.migrate, "migrate")
    _hooks(manifest, "after_migrate")
    return {"release": manifest.release, "changed": bool(manifest.migrate), "output": output.last(said, 2000)}


def _start(state: AppState, held: dict[str, Any], manifest: Manifest, options: Options) -> Outcome:
    health = Health.of(manifest)
    activation = held.get("activation")
    if activation and held.get("switched") == activation:
        return {"activation": activation, "warm": True}
    if activation and lifecycle.runner_of(activation):
        # Warm: it runs already; that it answers is checked all the same.
        lifecycle.resume(manifest, activation)
        lifecycle.wait_until_healthy(state.app, activation, health)
        # Its workers ran well before. A rollback that is warm is not kept waiting: they are looked at after the switch.
        release_workers.begin(state, manifest, activation, wait=False)
        return {"activation": activation, "warm": True}
    _hooks(manifest, "before_start")
    activation = lifecycle.start(state, manifest, options.emperor or running_emperor())
    _note(state, options, activation=activation)
    requests = lifecycle.wait_until_healthy(state.app, activation, health)
    release_workers.begin(state, manifest, activation)
    _hooks(manifest, "after_start")
    return {"activation": activation, "probes": requests, "changed": True}


def _switch(state: AppState, held: dict[str, Any], manifest: Manifest, options: Options) -> Outcome:
    activation = str(held["activation"])
    live = state.live_activation()
    if held.get("switched") == activation == live:
        return {"activation": activation, "release": manifest.release}
    if live != activation:
        held = _note(state, options, previous=live)
    previous = held.get("previous")
    health = Health.of(manifest)
    outcome: Outcome = {"activation": activation, "release": manifest.release, "changed": live != activation}
    try:
        if live != activation:
            if lifecycle.runner_of(activation) is None:
                raise NotHealthy(f"{activation} was stopped since it was started and probed")
            _hooks(manifest, "before_switch")
            outcome["milliseconds"] = round(lifecycle.switch(state, activation), 2)
        lifecycle.probe_through_front(health, health.answers, manifest.request_timeout, options.http_port)
        release_workers.take_over(state, manifest, activation, previous)
        _hooks(manifest, "after_switch")
    except Exception as error:
        back = failure.described(state.app, error)
        undoing = failure.Undoing(state.app)
        if state.live_activation() == activation:
            if previous and (live != activation or lifecycle.runner_of(previous)):
                undoing.step(f"switching back to {previous}", lambda: lifecycle.switch(state, previous))
                if state.live_activation() == previous:
                    back += f"\nSwitched back to {state.release_of(previous)}."
                undoing.step(
                    f"letting {activation} end its requests",
                    lambda: lifecycle.drain(state.app, activation, manifest.request_timeout),
                )
            elif live != activation:
                # The first release: nothing answers rather than one that answers wrongly.
                undoing.step("taking it away", lambda: os.unlink(layout.active(state.app)))
        # Else an earlier run switched, and the one before it runs no more: what is live is all there is.
        raise NotHealthy(back + undoing.said()) from error
    if held.get("kind") == "rollback" and previous:
        left = state.release_of(previous)
        if left and left != manifest.release:
            state.mark(left, status="rolled_back", reason=f"rolled back to {manifest.release}")
    serial = state.activation_serial(activation)
    state.mark(manifest.release, status="good", switched=time.time(), live_as=serial, reason="")
    _note(state, options, switched=activation, milliseconds=outcome.get("milliseconds"))
    return outcome


def _drain(state: AppState, held: dict[str, Any], manifest: Manifest, options: Options) -> Outcome:
    began = time.monotonic()
    live = state.live_activation()
    _hooks(manifest, "before_drain")
    outcome: Outcome = {"release": manifest.release, "activation": live, "changed": True}
    warm = _warm(state) if options.keep_warm > 0 and not options.emperor else None
    previous = held.get("previous")
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
        pruning = pool.submit(_prune, state, options)
        idle = pool.map(lambda name: lifecycle.drain(state.app, name, seconds[name]), awaited)
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
    warnings += _clean_up(state)
    _hooks(manifest, "after_drain")
    # Those that ran until now.
    warnings += _prune(state, options)
    if warnings:
        # What was tried twice is said once.
        outcome["warnings"] = list(dict.fromkeys(warnings))
    held = {**held, "took": _taken(held, "drain", began)}
    state.remember(_entry(held, options, "drain", "good"))
    outcome["seconds"] = seconds_since_start(held)
    outcome["milliseconds"] = held.get("milliseconds")
    outcome["took"] = held["took"]
    state.unlock()
    return outcome


def _retire_later(app: str, activation: str, seconds: int) -> None:
    """Let systemd end the warm activation in *seconds*, unless it is live again by then."""
    unit = f"emperor-stack-retire-{activation.replace('@', '-')}"
    # It may have been warm before, and have come back by a rollback.
    with contextlib.suppress(CommandFailed):
        run(["systemctl", "stop", f"{unit}.timer"], what="ending the earlier timer", timeout=30)
    run(
        ["systemd-run", "--quiet", "--collect", f"--unit={unit}", f"--on-active={seconds}"]
        + [f"{layout.LIBRARY}/retire", app, activation],
        what="arranging the end of the warm activation",
        timeout=30,
    )


# rollback


def _rollback(spec: Spec, options: Options) -> Outcome:
    """Choose the release to go back to and take the lock. Where it is still warm, switch at once: every second counts.

    Start, switch and drain then do the rest.
    """
    app = spec["name"]
    state = AppState(app)
    live = state.live_release()
    left = state.lock() or {}
    if _rolled_back_to(left, live) and options.to_release in (None, live):
        # It had switched when it died. Going back once more would be one release too far.
        outcome = {"release": live, "from": state.release_of(left.get("previous")), "changed": True}
        return outcome if options.check_mode else {**outcome, **take_over(spec, options), "warm": True}
    if options.to_release:
        target = state.manifest(options.to_release)
        if target is None or target.status == "failed":
            known = ", ".join(
                m.release for m in state.manifests() if m.status != "failed" and m.release != live
            )
            raise ReleaseError(
                f"there is no good release {options.to_release} here. There are: {known or 'none'}."
            )
    else:
        target = state.previous_good()
        if target is None:
            raise ReleaseError("there is no earlier good release on this host to go back to.")
    if target.release == live:
        raise ReleaseError(f"{live} is live already.")
    current = state.manifest(live) if live else None
    crosses = current is not None and current.migrations != target.migrations
    if crosses and not options.across_migration:
        raise ReleaseError(
            f"between {target.release} and the live {live} the migrations changed, and a rollback does not undo them. "
            "When the older code can live with the newer database, say -e across_migration=true."
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
        state.take_lock(dict(options.owner), list(options.dead), options.break_lock)
        try:
            warm = _warm(state)
            if warm is not None and state.release_of(warm) != target.release:
                warm = None
            _note(
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
    outcome["warm"] = warm is not None
    for phase in _TO_SWITCH if warm else ():
        done = phase(spec, options)
        if done.get("error"):
            return done
        outcome.update({name: done[name] for name in ("activation", "milliseconds") if name in done})
    return outcome


_TO_SWITCH = (_with_lock("start", _start), _with_lock("switch", _switch))


# finish: the lock of a dead run goes to this one, which then goes on at the switch


def take_over(spec: Spec, options: Options) -> Outcome:
    state = AppState(spec["name"])
    with state.working(seconds=120):
        left = state.lock() or {}
        state.take_lock(
            dict(options.owner),
            list(options.dead),
            options.break_lock,
            kind=left.get("kind", "deploy"),
            release=state.live_release(),
            activation=state.live_activation(),
            previous=left.get("previous"),
        )
    return {"release": state.live_release(), "changed": True}


def _prepare_or_take_over(spec: Spec, options: Options) -> Outcome:
    if spec.get("action") == "finish" and not options.check_mode:
        return take_over(spec, options)
    return _prepare(spec, options)


# status


def _maintenance_since(app: str) -> str | None:
    """Since when visitors get the page of maintenance; None where they reach the app."""
    with contextlib.suppress(FileNotFoundError):
        since = os.stat(layout.maintenance(app)).st_mtime
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))
    return None


def _status(spec: Spec, options: Options) -> Outcome:
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
        **app_units.summary(state.app, live),
        "health": health,
        "maintenance": _maintenance_since(state.app),
        "disk": asdict(disk) if (disk := disk_quota.usage_of(state.app)) else None,
        "lock": state.lock(),
        "releases": [
            {"release": m.release, "version": m.version, "status": m.status, "created": m.created}
            for m in state.manifests()
        ],
        "history": state.history(10),
    }


PHASES: dict[str, Callable[[Sequence[Spec], Options], dict[str, Outcome]]] = {
    "plan": _each(_plan, at_once=8),
    "prepare": _each(_prepare_or_take_over, at_once=PREPARED_AT_ONCE),
    "migrate": _each(_with_lock("migrate", _migrate)),
    "start": _each(_with_lock("start", _start), at_once=4),
    "switch": _each(_with_lock("switch", _switch)),
    "drain": _each(_with_lock("drain", _drain), at_once=4),
    "rollback": _each(_rollback),
    "status": _each(_status, at_once=4),
}


def somebody_waits() -> bool:
    """Whether whoever started this program still reads what it prints."""
    watched = select.poll()
    watched.register(1, 0)
    return not any(events & (select.POLLERR | select.POLLHUP) for _, events in watched.poll(0))


def in_turn(names: Sequence[str], specs: Sequence[Spec], options: Options) -> dict[str, Outcome]:
    """The phases *names*, each for the apps that came through those before. An app's outcome is that of all of them.

    After a plan, the others are for what it wants to deploy or to finish. Where nobody waits any more, such as after a
    Ctrl-C at the controller, no phase is begun that leads to a switch; the lock tells the next run what is left.
    """
    outcome: dict[str, Outcome] = {}
    for name in names:
        if outcome and name in ("prepare", "migrate", "start", "switch") and not somebody_waits():
            break
        for app, one in PHASES[name](specs, options).items():
            before = outcome.get(app, {})
            changed = bool(before.get("changed") or one.get("changed"))
            outcome[app] = {**before, **one, "changed": changed}
            if warnings := [*before.get("warnings", []), *one.get("warnings", [])]:
                outcome[app]["warnings"] = list(dict.fromkeys(warnings))
        specs = [spec for spec in specs if not outcome[spec["name"]].get("error")]
        if name == "plan":
            specs = [
                {**spec, "action": plan["action"], "revision": plan["revision"]}
                for spec, plan in ((spec, outcome[spec["name"]]) for spec in specs)
                if plan["action"] in ("deploy", "finish") and "revision" in plan
            ]
    return outcome
