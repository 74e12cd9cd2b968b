"""The phases on a host where builds, answers and hooks are played, and all that is remembered is real."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.files import trees
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed
from ansible_collections.emperor.stack.plugins.module_utils.release import build, lifecycle
from ansible_collections.emperor.stack.plugins.module_utils.release import phases as release_phases
from ansible_collections.emperor.stack.plugins.module_utils.release import venv as release_venv
from ansible_collections.emperor.stack.plugins.module_utils.release import workers as release_workers
from ansible_collections.emperor.stack.plugins.module_utils.release.build import ReleaseError
from ansible_collections.emperor.stack.plugins.module_utils.release.lifecycle import NotHealthy
from ansible_collections.emperor.stack.plugins.module_utils.release.phases import PHASES, Options, in_turn
from ansible_collections.emperor.stack.plugins.module_utils.release.state import AppState, Manifest
from ansible_collections.emperor.stack.plugins.module_utils.systemd import app_units, unit_names

MINE = {"token": "boot/ns/1/1", "who": "ann@laptop", "controller": "laptop"}
THEIRS = {"token": "boot/ns/2/2", "who": "bob@desk", "controller": "desk"}
PHASES_OF_A_DEPLOY = ("prepare", "migrate", "start", "switch", "drain")

Outcome = dict[str, Any]


class Killed(BaseException):
    """The process ends here: nothing after it runs but what the kernel does."""


class Systemd:
    """systemd, as far as it starts, stops and shows units. A unit in `dying` never runs for long."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.running: set[str] = set()
        self.dying: set[str] = set()
        self.doubled: list[str] = []
        #: The call at which the process that makes it is killed, before it does anything or after it.
        self.kill_at: tuple[int, str] | None = None

    def __call__(self, argv: list[str], **_: Any) -> str:
        if argv[0] == "journalctl":
            return "No module named celery"
        verb, units = argv[1], [word for word in argv[2:] if not word.startswith("--")]
        self.calls.append(" ".join([verb, *units]))
        killed = self.kill_at and self.kill_at[0] == len(self.calls)
        if killed and self.kill_at and self.kill_at[1] == "before":
            raise Killed
        said = self._do(verb, units)
        if killed:
            raise Killed
        return said

    def _do(self, verb: str, units: list[str]) -> str:
        if verb in ("start", "restart"):
            assert all(os.path.exists(layout.unit_file(unit)) for unit in units)
            for unit in units:
                process = unit.partition("@")[0]
                if [one for one in self.running - {unit} if one.startswith(f"{process}@")]:
                    self.doubled.append(unit)
                self.running.add(unit)
        elif verb == "stop":
            self.running -= set(units)
        elif verb == "show":
            return "\n\n".join(self._shown(unit) for unit in units)
        return ""

    def _shown(self, unit: str) -> str:
        runs = unit in self.running and unit not in self.dying
        state = (
            "ActiveState=active\nSubState=running"
            if runs
            else "ActiveState=activating\nSubState=auto-restart"
        )
        return f"NRestarts=0\nId={unit}\n{state}\nResult=exit-code\nExecMainStatus=1"


class Host:
    """Deploys of app `blog` by one controller after the other, with the parts that touch the system played."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state = AppState("blog")
        self.calls: list[str] = []
        #: How long each activation was given to be quiet.
        self.seconds: dict[str, float] = {}
        self.breaks: dict[str, BaseException] = {}
        self.options = Options(owner=MINE, keep_releases=3)
        self.revision = "a" * 40
        self.built = 0
        for module, name in (
            (build, "prepare"),
            (build, "run_app_command"),
            (lifecycle, "wait_until_healthy"),
            (lifecycle, "probe_through_front"),
            (lifecycle, "drain"),
            (release_phases, "run"),
        ):
            monkeypatch.setattr(module, name, getattr(self, f"_{name}"))
        self.systemd = Systemd()
        monkeypatch.setattr(app_units, "run", self.systemd)
        monkeypatch.setattr(app_units, "SETTLE_SECONDS", 0)
        monkeypatch.setattr(release_phases, "_python", lambda spec: "3.11")
        monkeypatch.setattr(build, "new_release_id", self._new_release_id)

    def _new_release_id(self, revision: str) -> str:
        self.built += 1
        return f"20261122T1000{self.built:02d}-{revision[:7]}"

    def _step(self, name: str) -> None:
        self.calls.append(name)
        if name in self.breaks:
            raise self.breaks[name]

    def _prepare(self, spec: Any, revision: str, release: str, *_: Any) -> Manifest:
        os.makedirs(f"{layout.release('blog', release)}/code")
        self._step("prepare")
        manifest = Manifest(
            app="blog",
            release=release,
            revision=revision,
            version="v1",
            fingerprint=spec["fingerprint"],
            python="3.11",
            created="",
            health=spec["health"],
            host="blog.example.com",
            migrate=spec["migrate"],
            hooks=spec["hooks"],
            migrations=spec.get("migrations", ""),
            server=spec.get("server", "uwsgi"),
            workers=spec.get("workers", {}),
            schedule=sorted(spec.get("schedule", {})),
        )
        if manifest.server == "uwsgi":
            Path(layout.release("blog", release), "vassal.ini").write_text("[uwsgi]\n")
        os.makedirs(layout.release_units("blog", release))
        for process in [*manifest.workers, *(["web"] if manifest.server != "uwsgi" else [])]:
            self._unit(release, f"app_blog_{process}@.service", "[Install]")
        for name in manifest.schedule:
            self._unit(release, f"app_blog_{name}.service", release)
            self._unit(release, f"app_blog_{name}.timer", f"[Install] {spec['schedule'][name]}")
        AppState("blog").save(manifest)
        self._step("prepared")
        return manifest

    @staticmethod
    def _unit(release: str, name: str, text: str) -> None:
        with open(f"{layout.release_units('blog', release)}/{name}", "w", encoding="utf-8") as file:
            file.write(f"{text} @ACTIVATION@")

    def _run_app_command(self, app: str, release: str, command: str, what: str, timeout: float = 0) -> str:
        self._step(what.removeprefix("hook "))
        return "done"

    def _wait_until_healthy(self, app: str, activation: str, health: Any) -> int:
        self._step("probe")
        return 3

    def _probe_through_front(self, *_: Any) -> None:
        self._step("front")

    def _drain(self, app: str, activation: str, timeout: float) -> bool:
        self.seconds[activation] = timeout
        self._step(f"drain {activation}")
        return True

    def _run(self, argv: list[str], **_: Any) -> str:
        self._step("retire later")
        return ""

    def spec(self, **changes: Any) -> dict[str, Any]:
        return {
            "name": "blog",
            "domains": ["blog.example.com"],
            "source": {"path": "x"},
            "digest": self.revision,
            "revision": self.revision,
            "fingerprint": f"2:{'f' * 64}",
            "health": {"path": "/", "status": [], "answers": 3, "timeout": 2},
            "migrate": "migrate",
            "hooks": {
                f"{when}_{phase}": ["x"]
                for when in ("before", "after")
                for phase in ("migrate", "start", "switch", "drain")
            },
            **changes,
        }

    def phase(self, name: str, **changes: Any) -> Outcome:
        return PHASES[name]([self.spec(**changes)], self.options)["blog"]

    def deploy(self, revision: str | None = None, **changes: Any) -> Outcome:
        """As the role does: plan, then one phase after the other until one fails."""
        self.revision = revision or self.revision
        plan = self.phase("plan", **changes)
        if plan["action"] not in ("deploy", "finish"):
            return plan
        outcome: Outcome = {}
        for name in PHASES_OF_A_DEPLOY:
            outcome = self.phase(name, action=plan["action"], **changes)
            if "error" in outcome:
                break
        return outcome

    def rollback(self) -> Outcome:
        outcome = self.phase("rollback")
        for name in ("start", "switch", "drain"):
            if "error" in outcome:
                break
            outcome = self.phase(name)
        return outcome

    def next_run(self) -> None:
        """The run before is dead, and the controller found that out. What broke does no more."""
        token = f"boot/ns/{len(self.calls)}/9"
        dead = [str(self.options.owner["token"])]
        self.options = Options(owner={**MINE, "token": token}, dead=dead, keep_releases=3)
        self.breaks.clear()
        self.calls.clear()
        self.systemd.calls.clear()
        self.systemd.kill_at = None

    def status(self, release: str | None) -> str | None:
        found = self.state.manifest(str(release))
        return found.status if found else None

    def vassals(self) -> list[str]:
        return [name for _, name in lifecycle.running_activations("blog")]

    def settled(self) -> None:
        """What is true after every finished run."""
        live = self.state.live_activation()
        assert self.state.lock() is None
        assert self.state.partial_releases() == []
        assert live in self.vassals()
        assert set(self.state.activation_names()) == set(self.vassals())


@pytest.fixture
def deploys(host: Any, monkeypatch: pytest.MonkeyPatch) -> Host:
    # Nothing here asks what a power cut leaves, and the disk takes most of the time.
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    return Host(monkeypatch)


#: What a deploy does, as the fixture notes it.
WHOLE = [
    "prepare",
    "prepared",
    "before_migrate",
    "migrate",
    "after_migrate",
    "before_start",
    "probe",
    "after_start",
    "before_switch",
    "front",
    "after_switch",
    "before_drain",
    "after_drain",
]


def test_a_deploy_passes_its_phases_in_order(deploys: Host) -> None:
    outcome = deploys.deploy()
    assert deploys.calls == WHOLE
    assert outcome["activation"] == "blog@1"
    assert deploys.status(deploys.state.live_release()) == "good"
    deploys.settled()
    (entry,) = deploys.state.history()
    assert (entry["kind"], entry["result"], entry["who"]) == ("deploy", "good", "ann@laptop")
    assert deploys.phase("plan")["action"] == "none"


def test_phases_in_one_exchange_do_what_they_do_one_by_one(deploys: Host) -> None:
    spec = deploys.spec(action="deploy")
    outcome = in_turn(PHASES_OF_A_DEPLOY, [spec], deploys.options)["blog"]
    assert deploys.calls == WHOLE
    assert (outcome["activation"], outcome["changed"]) == ("blog@1", True)
    assert outcome["seconds"] >= 0
    deploys.settled()


def test_an_app_that_fails_a_phase_is_in_no_further_one_and_others_are(deploys: Host) -> None:
    deploys.deploy()
    deploys.revision = "b" * 40
    deploys.calls.clear()
    deploys.breaks["migrate"] = CommandFailed("migrate", "x", "exit status 1", "no such table")
    outcome = in_turn(PHASES_OF_A_DEPLOY, [deploys.spec(action="deploy")], deploys.options)["blog"]
    assert outcome["error"].startswith("migrate: ") and outcome["phase"] == "migrate"
    assert deploys.calls[-1] == "migrate"
    deploys.settled()
    deploys.breaks.clear()
    specs = [deploys.spec(name="shop", action="deploy"), deploys.spec(action="deploy")]
    outcomes = in_turn(PHASES_OF_A_DEPLOY, specs, deploys.options)
    assert "is not set up on the host" in outcomes["shop"]["error"]
    assert "error" not in outcomes["blog"] and deploys.calls[-1] == "after_drain"


def test_the_one_before_is_drained_and_kept_warm(deploys: Host) -> None:
    deploys.deploy("a" * 40)
    deploys.deploy("b" * 40)
    outcome = deploys.deploy("c" * 40)
    assert outcome["warm"] == "blog@2"
    assert deploys.vassals() == ["blog@2", "blog@3"]
    deploys.settled()


@pytest.mark.parametrize(
    ("keep_warm", "hooks", "waits"),
    [
        (600, {}, False),
        # A request may take 60 s, and is given five more.
        (66, {}, False),
        (65, {}, True),
        (0, {}, True),
        (600, {"after_drain": ["x"]}, True),
        (600, {"before_drain": ["x"]}, False),
    ],
)
def test_what_is_kept_warm_for_longer_than_a_request_is_not_waited_for(
    deploys: Host, keep_warm: int, hooks: dict[str, list[str]], waits: bool
) -> None:
    deploys.options = Options(owner=MINE, keep_releases=3, keep_warm=keep_warm)
    deploys.deploy("a" * 40, hooks=hooks)
    deploys.deploy("b" * 40, hooks=hooks)
    assert ("drain blog@1" in deploys.calls) is waits
    assert ("blog@1" in deploys.vassals()) is (keep_warm > 0)
    # One that is not the one before is, as it is stopped.
    outcome = deploys.deploy("c" * 40, hooks=hooks)
    if keep_warm:
        assert "drain blog@1" in deploys.calls
    assert outcome.get("warm") == ("blog@2" if keep_warm else None)
    deploys.settled()


def test_a_deploy_says_what_took_its_time(deploys: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    plain = build.prepare

    def steps(
        spec: Any, revision: str, release: str, index: Any, say: Callable[[str], None], *rest: Any
    ) -> Any:
        say("fetch")
        say("warning: a version could not be kept")
        say("venv")
        return plain(spec, revision, release, index, say, *rest)

    monkeypatch.setattr(build, "prepare", steps)
    deploys.revision = "a" * 40
    assert deploys.phase("prepare")["warnings"] == ["a version could not be kept"]
    outcomes = [deploys.phase(phase) for phase in PHASES_OF_A_DEPLOY[1:]]
    assert list(outcomes[-1]["took"]) == ["fetch", "venv", "migrate", "start", "switch", "drain"]
    assert deploys.state.history()[-1]["took"] == outcomes[-1]["took"]


def test_a_phase_that_is_gone_through_twice_counts_both_times() -> None:
    """As start and switch of a warm rollback, which the phases of their own then confirm."""
    held = {"took": {"start": 1.5, "switch": 0.25}}
    took = release_phases._taken(held, "start", time.monotonic() - 2)
    assert took == {"start": pytest.approx(3.5, abs=0.2), "switch": 0.25}
    assert held["took"]["start"] == 1.5


def test_a_deploy_that_failed_says_it_too(deploys: Host) -> None:
    deploys.breaks["probe"] = NotHealthy("answered 500")
    assert "answered 500" in deploys.deploy("a" * 40)["error"]
    assert list(deploys.state.history()[-1]["took"]) == ["migrate", "start"]
    deploys.breaks = {"front": NotHealthy("answered 502")}
    assert "answered 502" in deploys.deploy("b" * 40)["error"]
    assert list(deploys.state.history()[-1]["took"]) == ["migrate", "start", "switch"]


def test_each_activation_has_the_time_of_its_own_requests(deploys: Host) -> None:
    deploys.deploy("a" * 40, hooks={})
    state = deploys.state
    patient = state.manifest(str(state.live_release()))
    assert patient is not None
    state.save(dataclasses.replace(patient, request_timeout=500))
    deploys.deploy("b" * 40, hooks={})
    # It is kept for 600 s, so nobody waits.
    assert "drain blog@1" not in deploys.calls
    deploys.deploy("c" * 40, hooks={})
    assert deploys.seconds == {"blog@1": 505}
    # Longer than what it is kept for.
    state.save(dataclasses.replace(patient, release=str(state.live_release()), request_timeout=3600))
    deploys.deploy("d" * 40, hooks={})
    assert deploys.seconds["blog@3"] == 3605


def test_what_has_served_is_drained_before_a_later_run_cleans_it_up(deploys: Host) -> None:
    """A run that dies between its switch and its drain leaves what was warm before, which may have requests."""
    for letter in "ab":
        deploys.deploy(letter * 40, hooks={})
    deploys.revision = "c" * 40
    for phase in ("prepare", "migrate", "start", "switch"):
        deploys.phase(phase, hooks={})
    assert deploys.vassals() == ["blog@1", "blog@2", "blog@3"]
    deploys.next_run()
    deploys.revision = "d" * 40
    deploys.phase("prepare", hooks={})
    assert deploys.calls == ["drain blog@1", "prepare", "prepared"]
    assert deploys.vassals() == ["blog@2", "blog@3"]


# What fails

FAILURES = [
    ("prepare", CommandFailed("build", "make", "exit status 2", "no rule")),
    ("prepare", OSError(28, "No space left on device")),
    ("before_migrate", CommandFailed("hook", "x", "exit status 1", "")),
    ("migrate", CommandFailed("migrate", "x", "exit status 1", "no such table")),
    ("before_start", CommandFailed("hook", "x", "exit status 1", "")),
    ("probe", NotHealthy("answered 500")),
    ("after_start", CommandFailed("hook", "x", "exit status 1", "")),
    ("before_switch", CommandFailed("hook", "x", "exit status 1", "")),
    ("front", NotHealthy("through nginx: 502")),
    ("after_switch", CommandFailed("hook", "x", "exit status 1", "")),
]


@pytest.mark.parametrize("first", [True, False], ids=["the first release", "a later one"])
@pytest.mark.parametrize(("step", "failure"), FAILURES, ids=[step for step, _ in FAILURES])
def test_a_failure_leaves_the_live_release(deploys: Host, step: str, failure: Exception, first: bool) -> None:
    if not first:
        deploys.deploy("a" * 40)
        deploys.next_run()
    live = deploys.state.live_activation()
    deploys.breaks[step] = failure
    outcome = deploys.deploy("b" * 40)
    assert str(failure) in outcome["error"]
    assert ("serves on" in outcome["error"]) is not first
    assert "is kept at" in outcome["error"]
    assert deploys.state.live_activation() == live
    assert deploys.state.lock() is None
    assert deploys.vassals() == ([live] if live else [])
    assert deploys.state.activation_names() == deploys.vassals()
    assert deploys.status(outcome["release"]) == "failed"
    entry = deploys.state.history()[-1]
    assert (entry["result"], entry["phase"]) == ("failed", outcome["phase"])
    assert str(failure) in entry["reason"]
    # The next run makes it anew, and the failed one is not taken for a part of a release.
    deploys.next_run()
    assert "error" not in deploys.deploy("b" * 40)
    deploys.settled()


#: What an app's content may raise in our own code, which nobody thought of.
UNEXPECTED = [
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"),
    RecursionError("maximum recursion depth exceeded"),
    ValueError("invalid literal for int() with base 10: 'zz'"),
    json.JSONDecodeError("Expecting value", "", 0),
    MemoryError(),
    KeyError("workers"),
]


@pytest.mark.parametrize("step", ["prepare", "migrate", "probe", "front", "after_switch"])
@pytest.mark.parametrize("failure", UNEXPECTED, ids=[type(one).__name__ for one in UNEXPECTED])
def test_what_nobody_expected_leaves_what_a_failure_leaves(
    deploys: Host, step: str, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[str] = []
    monkeypatch.setattr("syslog.syslog", lambda _, line: logged.append(line))
    deploys.deploy("a" * 40)
    deploys.next_run()
    live = deploys.state.live_activation()
    deploys.breaks[step] = failure
    outcome = deploys.deploy("b" * 40)
    phase = outcome["phase"]
    reason = outcome["error"].splitlines()[0]
    assert reason.startswith(f"{phase}: {type(failure).__name__}")
    assert "line " in reason, "the place in our code"
    assert "serves on" in outcome["error"]
    assert "blog" in logged[0]
    assert any("Traceback" in line for line in logged)
    assert deploys.state.live_activation() == live
    assert deploys.state.lock() is None
    assert deploys.vassals() == [live]
    assert deploys.status(outcome["release"]) == "failed"
    json.dumps(outcome).encode()
    deploys.next_run()
    assert "error" not in deploys.deploy("b" * 40)
    deploys.settled()


#: What undoes a failed deploy.
UNDOING = {
    "stop": (lifecycle, "stop"),
    "follow": (release_workers, "follow"),
    "mark": (AppState, "mark"),
    "prune": (release_phases, "_prune"),
    "remember": (AppState, "remember"),
    "switch": (lifecycle, "switch"),
    "keep": (AppState, "save"),
}


@pytest.mark.parametrize("broken", UNDOING)
@pytest.mark.parametrize("step", ["prepare", "after_start", "after_switch"])
def test_a_later_failure_hides_no_earlier_one(
    deploys: Host, step: str, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploys.deploy("a" * 40)
    deploys.next_run()
    deploys.breaks[step] = NotHealthy("the first reason")
    target, name = UNDOING[broken]
    real = getattr(target, name)

    def fails_then(*args: Any, **more: Any) -> Any:
        if step in deploys.calls:
            raise UnicodeError("a later one")
        return real(*args, **more)

    monkeypatch.setattr(target, name, fails_then)
    outcome = deploys.deploy("b" * 40)
    assert "the first reason" in outcome["error"]
    assert deploys.state.lock() is None


@pytest.mark.parametrize("step", ["before_drain", "after_drain", "retire later", "drain blog@1"])
def test_a_failure_after_the_switch_does_not_make_the_live_release_a_bad_one(
    deploys: Host, step: str
) -> None:
    deploys.deploy("a" * 40)
    deploys.breaks[step] = CommandFailed(step, "x", "exit status 1", "")
    outcome = deploys.deploy("b" * 40)
    assert outcome["error"].startswith("drain: ")
    assert "is kept at" not in outcome["error"]
    live = deploys.state.live_release()
    assert live == outcome["release"]
    assert deploys.status(live) == "good"
    assert deploys.state.lock() is None
    deploys.next_run()
    deploys.deploy("c" * 40)
    found = deploys.state.previous_good()
    assert found is not None
    assert found.release == live


def test_a_failure_in_the_lock_itself_gives_it_back(deploys: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(release_phases, "_clean_up", full)
    assert "No space left" in deploys.deploy()["error"]
    assert deploys.state.lock() is None


def test_one_app_that_fails_leaves_the_others_alone(deploys: Host) -> None:
    deploys.breaks["prepare"] = ReleaseError("no")
    missing = deploys.spec(name="shop")
    outcomes = PHASES["prepare"]([missing, deploys.spec()], deploys.options)
    assert "is not set up on the host" in outcomes["shop"]["error"]
    assert outcomes["blog"]["error"].startswith("prepare: no")


def test_a_tree_that_is_refused_leaves_no_rubbish(deploys: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was is kept in the manifest; a tree so deep is not for the usual tools, and may be what fills the disk."""
    deploys.deploy("a" * 40)
    deploys.breaks["prepare"] = trees.TreeRefused("code/d/d lies more than 100 directories deep")
    real, made = deploys._prepare, []

    def prepare(spec: Any, revision: str, release: str, *more: Any) -> Manifest:
        made.append(release)
        here = os.path.dirname(layout.release("blog", release))
        os.makedirs(f"{here}/{release}/code")
        descriptor = os.open(f"{here}/{release}/code", os.O_RDONLY)
        for _ in range(1500):
            os.mkdir("d", dir_fd=descriptor)
            inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        os.close(descriptor)
        raise deploys.breaks["prepare"]

    monkeypatch.setattr(build, "prepare", prepare)
    outcome = deploys.deploy("b" * 40)
    assert "100 directories deep. Its code, venv and public files were deleted\n" in outcome["error"]
    assert deploys.status(made[0]) == "failed"
    assert os.listdir(layout.release("blog", made[0])) == ["release.json"]
    # Corrected, it goes live.
    monkeypatch.setattr(build, "prepare", real)
    deploys.next_run()
    assert "error" not in deploys.deploy("c" * 40)
    deploys.settled()


def test_what_cannot_be_deleted_is_a_warning_and_tried_again(
    deploys: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploys.deploy("a" * 40)
    left = layout.release("blog", "20261122T090000-fffffff")
    os.makedirs(f"{left}/code")
    real = trees.remove

    def stubborn(*paths: str) -> None:
        if left in paths:
            raise ReleaseError("rm: cannot remove 'x': Operation not permitted")
        real(*paths)

    monkeypatch.setattr(trees, "remove", stubborn)
    outcome = in_turn(
        PHASES_OF_A_DEPLOY, [deploys.spec(revision="b" * 40, action="deploy")], deploys.options
    )["blog"]
    assert outcome["warnings"] == ["rm: cannot remove 'x': Operation not permitted"]
    assert "error" not in outcome
    monkeypatch.setattr(trees, "remove", real)
    deploys.next_run()
    assert "warnings" not in deploys.deploy("c" * 40)
    assert not os.path.exists(left)


@pytest.mark.parametrize("phase", ["plan", "status", "rollback"])
def test_an_app_that_cannot_even_be_looked_at_stops_no_other(
    deploys: Host, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploys.deploy("a" * 40)
    deploys.next_run()
    real = AppState.manifests

    def manifests(state: AppState) -> list[Manifest]:
        if state.app == "shop":
            raise RecursionError("maximum recursion depth exceeded")
        return real(state)

    monkeypatch.setattr(AppState, "manifests", manifests)
    monkeypatch.setattr(AppState, "live_release", lambda state: "20261122T100001-aaaaaaa")
    outcomes = PHASES[phase]([deploys.spec(name="shop"), deploys.spec()], deploys.options)
    assert "RecursionError: maximum recursion depth exceeded" in outcomes["shop"]["error"]
    assert "RecursionError" not in str(outcomes["blog"])


def test_what_a_failed_deploy_cannot_delete_is_said_beside_its_failure(
    deploys: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    for revision in "ab":
        deploys.breaks["prepare"] = ReleaseError("no")
        deploys.deploy(revision * 40)

    def stubborn(*paths: str) -> None:
        raise ReleaseError("rm: cannot remove 'x': Operation not permitted")

    monkeypatch.setattr(trees, "remove", stubborn)
    outcome = deploys.deploy("c" * 40)
    assert outcome["error"].startswith("prepare: no")
    assert "rm: cannot remove 'x': Operation not permitted" in str(outcome)
    assert deploys.state.lock() is None


def test_an_activation_that_went_before_the_switch_is_not_switched_to(deploys: Host) -> None:
    deploys.deploy("a" * 40)
    deploys.revision = "b" * 40
    for name in ("prepare", "migrate", "start"):
        deploys.phase(name)
    os.unlink(lifecycle.vassal_path("a", "blog@2"))
    deploys.calls.clear()
    assert "blog@2" in deploys.phase("switch")["error"]
    assert deploys.state.live_activation() == "blog@1"
    assert "front" not in deploys.calls


# Who dies

STEPS = [
    "prepare",
    "prepared",
    "before_migrate",
    "migrate",
    "after_migrate",
    "before_start",
    "probe",
    "after_start",
    "before_switch",
    "front",
    "after_switch",
    "before_drain",
    "drain blog@1",
    "retire later",
    "after_drain",
]


def _killed(work: Callable[[], Any]) -> None:
    with pytest.raises(Killed):
        work()


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_deploy_is_finished_by_the_next(deploys: Host, step: str) -> None:
    deploys.deploy("a" * 40)
    deploys.next_run()
    deploys.breaks[step] = Killed()
    _killed(lambda: deploys.deploy("b" * 40))
    assert deploys.state.live_activation() in ("blog@1", "blog@2")
    assert deploys.state.live_activation() in deploys.vassals()
    assert deploys.state.lock() is not None
    switched = deploys.state.live_activation() == "blog@2"
    deploys.next_run()
    plan = deploys.phase("plan")
    assert plan["action"] == ("finish" if switched else "deploy")
    assert "error" not in deploys.deploy("b" * 40)
    live = deploys.state.live_release()
    assert str(live).endswith("bbbbbbb")
    assert deploys.status(live) == "good"
    # Built once where it was whole, and switched to once.
    assert ("prepare" in deploys.calls) is (step == "prepare")
    assert ("migrate" in deploys.calls) is not switched
    assert len([m for m in deploys.state.manifests() if m.revision == "b" * 40]) == 1
    deploys.settled()
    found = deploys.state.previous_good()
    assert found is not None
    assert found.revision == "a" * 40
    assert deploys.phase("plan")["action"] == "none"


@pytest.mark.parametrize("step", STEPS)
def test_another_version_after_a_killed_deploy(deploys: Host, step: str) -> None:
    deploys.deploy("a" * 40)
    deploys.next_run()
    deploys.breaks[step] = Killed()
    _killed(lambda: deploys.deploy("b" * 40))
    deploys.next_run()
    assert "error" not in deploys.deploy("c" * 40)
    assert str(deploys.state.live_release()).endswith("ccccccc")
    deploys.settled()


@pytest.mark.parametrize(
    "step", ["before_start", "probe", "before_switch", "front", "after_switch", "before_drain"]
)
@pytest.mark.parametrize("then", ["rollback", "deploy"])
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_a_killed_rollback_ends_where_it_was_to_end(deploys: Host, step: str, then: str, warm: bool) -> None:
    for revision in "abc":
        deploys.deploy(revision * 40)
    if not warm:
        lifecycle.stop(deploys.state, "blog@2")
    deploys.next_run()
    deploys.breaks[step] = Killed()
    if warm and step == "before_start":
        pytest.skip("a warm activation is not started")
    _killed(deploys.rollback)
    switched = str(deploys.state.live_release()).endswith("bbbbbbb")
    deploys.next_run()
    if then == "deploy" and not switched:
        # The inventory still wants the live release: the lock is given back.
        assert "error" not in deploys.deploy("c" * 40)
        assert str(deploys.state.live_release()).endswith("ccccccc")
    else:
        outcome = deploys.rollback() if then == "rollback" else deploys.deploy("c" * 40)
        assert "error" not in outcome
        assert str(deploys.state.live_release()).endswith("bbbbbbb")
        assert deploys.phase("plan")["action"] == "held"
    deploys.settled()


def test_a_finish_that_finds_no_good_answer_takes_nothing_away(deploys: Host) -> None:
    deploys.deploy("a" * 40)
    deploys.next_run()
    deploys.breaks["front"] = Killed()
    _killed(lambda: deploys.deploy("b" * 40))
    # A reboot: the emperor forgot what is not live.
    os.unlink(lifecycle.vassal_path("a", "blog@1"))
    deploys.next_run()
    deploys.breaks["front"] = NotHealthy("through nginx: 502")
    assert "502" in deploys.deploy("b" * 40)["error"]
    assert deploys.state.live_activation() == "blog@2"
    assert deploys.vassals() == ["blog@2"]


# Locks


@pytest.mark.parametrize("phase", [*PHASES_OF_A_DEPLOY, "rollback"])
def test_another_owner_is_told_who_and_since(deploys: Host, phase: str) -> None:
    deploys.deploy("a" * 40)
    deploys.deploy("b" * 40)
    deploys.revision = "c" * 40
    deploys.phase("prepare")
    held = deploys.state.lock()
    assert held
    deploys.options = Options(owner=THEIRS)
    outcome = deploys.phase(phase)
    assert "ann@laptop on laptop" in outcome["error"]
    assert held["since"] in outcome["error"]
    assert outcome["locked"]["token"] == MINE["token"]
    assert deploys.state.lock() == held


def test_a_run_whose_lock_was_broken_stops(deploys: Host) -> None:
    deploys.deploy("a" * 40)
    deploys.revision = "b" * 40
    deploys.phase("prepare")
    mine = deploys.options
    deploys.options = Options(owner=THEIRS, break_lock=True)
    deploys.phase("prepare")
    deploys.options = mine
    for phase in ("migrate", "start", "switch", "drain"):
        assert "bob@desk" in deploys.phase(phase)["error"]
    assert deploys.state.live_activation() == "blog@1"


# Rollback


def test_a_warm_rollback_starts_nothing(deploys: Host) -> None:
    deploys.deploy("a" * 40)
    deploys.deploy("b" * 40)
    deploys.calls.clear()
    outcome = deploys.rollback()
    assert "error" not in outcome
    assert deploys.state.live_activation() == "blog@1"
    assert deploys.calls == [
        "probe",
        "before_switch",
        "front",
        "after_switch",
        "before_drain",
        "drain blog@2",
        "after_drain",
    ]
    # What was rolled back is not kept running: it is not a release to go back to.
    assert "warm" not in outcome
    assert deploys.vassals() == ["blog@1"]
    deploys.settled()


def test_a_cold_rollback_boots(deploys: Host) -> None:
    deploys.deploy("a" * 40)
    deploys.deploy("b" * 40)
    lifecycle.stop(deploys.state, "blog@1")
    deploys.rollback()
    assert deploys.state.live_activation() == "blog@3"
    assert str(deploys.state.live_release()).endswith("aaaaaaa")


@pytest.mark.parametrize("again", [False, True])
def test_what_was_rolled_back_is_held(deploys: Host, again: bool) -> None:
    deploys.deploy("a" * 40)
    deploys.deploy("b" * 40)
    deploys.rollback()
    deploys.options = Options(owner=MINE, again=again)
    plan = deploys.phase("plan")
    assert plan["action"] == ("deploy" if again else "held")
    if not again:
        assert "was rolled back" in plan["why"]
        assert "-e app=blog -e force=true" in plan["why"]
        assert deploys.phase("plan", fingerprint=f"2:{'g' * 64}")["action"] == "deploy"
        assert deploys.phase("plan", python="3.12")["action"] == "deploy"
        assert deploys.phase("plan", python="3.11")["action"] == "held"


def test_a_rollback_that_fails_leaves_both_as_they_were(deploys: Host) -> None:
    deploys.deploy("a" * 40)
    deploys.deploy("b" * 40)
    lifecycle.stop(deploys.state, "blog@1")
    deploys.breaks["probe"] = NotHealthy("answered 500")
    outcome = deploys.rollback()
    assert "answered 500" in outcome["error"]
    assert deploys.state.live_activation() == "blog@2"
    assert [m.status for m in deploys.state.manifests()] == ["good", "good"]
    assert deploys.state.history()[-1]["kind"] == "rollback"
    deploys.settled()


def test_a_rollback_over_a_migration_asks(deploys: Host) -> None:
    deploys.deploy("a" * 40, migrations="1")
    deploys.deploy("b" * 40, migrations="2")
    outcome = deploys.rollback()
    assert "across_migration=true" in outcome["error"]
    assert deploys.state.lock() is None
    deploys.options = Options(owner=MINE, across_migration=True)
    assert "error" not in deploys.rollback()


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (None, "no earlier good release"),
        ("20261122T100001-aaaaaaa", "is live already"),
        ("x", "There are: none"),
    ],
)
def test_rollbacks_to_nowhere(deploys: Host, wanted: str | None, says: str) -> None:
    deploys.deploy("a" * 40)
    deploys.options = Options(owner=MINE, to_release=wanted)
    assert says in deploys.rollback()["error"]
    assert deploys.state.lock() is None


def test_the_warm_one_is_the_youngest_by_number(
    deploys: Host, save: Any, run_activation: Callable[..., str]
) -> None:
    save("20261122T100000-a", status="good")
    for number in (9, 10, 11):
        run_activation("20261122T100000-a", f"blog@{number}", live=number == 11)
    assert release_phases._warm(deploys.state) == "blog@10"


# Plan


@pytest.mark.parametrize(
    ("changes", "python", "again", "why"),
    [
        ({}, "3.11", False, None),
        ({"revision": "b" * 40}, "3.11", False, "revision aaaaaaa is live, bbbbbbb is wanted"),
        ({"fingerprint": f"2:{'g' * 64}"}, "3.11", False, "its settings changed"),
        (
            {},
            "3.13",
            False,
            "it was built for Python 3.11, 3.13 is wanted; the versions of its venv are kept where they can be",
        ),
        ({"own_server": release_venv.OWN_SERVER}, "3.11", False, None),
        (
            {"own_server": "pyuwsgi==2.0.29"},
            "3.11",
            False,
            f"its own uWSGI is pyuwsgi==2.0.29, {release_venv.OWN_SERVER} is wanted",
        ),
        ({}, "3.11", True, "forced"),
    ],
)
def test_differences(
    manifest: Callable[..., Manifest], changes: dict[str, str], python: str, again: bool, why: str | None
) -> None:
    wanted = {"revision": "a" * 40, "fingerprint": f"2:{'f' * 64}", **changes}
    live = manifest("r", own_server=wanted.pop("own_server", ""))
    found = release_phases.difference(live, wanted["fingerprint"], wanted["revision"], python, again)
    assert found == why
    assert release_phases.difference(None, "f", "a", python, again) == "nothing is live"


def test_a_live_activation_without_a_vassal_is_deployed_anew(deploys: Host) -> None:
    deploys.deploy()
    os.unlink(lifecycle.vassal_path("a", "blog@1"))
    assert deploys.phase("plan")["why"] == "blog@1 has no vassal"
    assert "error" not in deploys.deploy()
    assert deploys.state.live_activation() == "blog@2"


@pytest.mark.parametrize("phase", [*PHASES_OF_A_DEPLOY, "rollback"])
def test_check_mode_changes_nothing(deploys: Host, phase: str) -> None:
    def tree() -> list[str]:
        return sorted(
            f"{directory}/{name}"
            for directory, names, files in os.walk(layout.APPS)
            for name in [*names, *files]
        )

    deploys.deploy("a" * 40)
    deploys.deploy("b" * 40)
    before = tree()
    deploys.revision = "c" * 40
    deploys.options = Options(owner=MINE, check_mode=True)
    assert deploys.phase(phase)["changed"] is True
    assert tree() == before


def test_status_says_what_is_there(deploys: Host) -> None:
    deploys.deploy("a" * 40)
    deploys.deploy("b" * 40)
    found = deploys.phase("status")
    assert found["live"]["release"] == deploys.state.live_release()
    assert found["health"] == "ok"
    assert [(a["activation"], a["live"]) for a in found["activations"]] == [
        ("blog@1", False),
        ("blog@2", True),
    ]
    assert len(found["history"]) == 2
    deploys.breaks["front"] = NotHealthy("through nginx: 502")
    assert deploys.phase("status")["health"] == "through nginx: 502"


def test_status_says_since_when_visitors_get_the_page_of_maintenance(
    deploys: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "MAINTENANCE", str(tmp_path))
    assert deploys.phase("status")["maintenance"] is None
    flag = tmp_path / deploys.state.app
    flag.touch()
    os.utime(flag, (0, 0))
    assert deploys.phase("status")["maintenance"] == "1970-01-01T00:00:00Z"


def test_old_releases_go(deploys: Host) -> None:
    for revision in "abcdef":
        deploys.deploy(revision * 40)
    assert [m.revision[0] for m in deploys.state.manifests()] == ["d", "e", "f"]
    deploys.settled()


# Workers and timers

PROCESSES: dict[str, Any] = {
    "workers": {"jobs": {"count": 2, "overlap": True}, "alone": {"count": 1, "overlap": False}},
    "schedule": {"nightly": "03:00"},
}


def with_processes(deploys: Host) -> None:
    """What is live has exactly its own workers and timers, now and after a boot."""
    deploys.settled()
    live = str(deploys.state.live_activation())
    manifest = deploys.state.manifest(str(deploys.state.live_release()))
    assert manifest is not None
    units = {
        layout.activation_unit("blog", name, live, number)
        for name, worker in manifest.workers.items()
        for number in range(1, worker["count"] + 1)
    }
    timers = {f"app_blog_{name}.timer" for name in manifest.schedule}
    services = {f"app_blog_{name}.service" for name in manifest.schedule}
    assert deploys.systemd.running == units | timers
    assert {*unit_names.all_units("blog")} == units | timers | services
    links = {
        name
        for target in ("multi-user", "timers")
        if os.path.isdir(f"{layout.UNITS}/{target}.target.wants")
        for name in os.listdir(f"{layout.UNITS}/{target}.target.wants")
    }
    assert links == units | timers
    for service in services:
        with open(layout.unit_file(service), encoding="utf-8") as file:
            assert file.read().startswith(manifest.release)


def test_an_app_without_units_never_asks_systemd(deploys: Host) -> None:
    for revision in "ab":
        deploys.deploy(revision * 40)
    deploys.rollback()
    deploys.deploy("b" * 40)
    assert deploys.systemd.calls == []


def test_workers_start_beside_the_old_ones_and_those_stop_after_the_switch(deploys: Host) -> None:
    deploys.deploy("a" * 40, **PROCESSES)
    with_processes(deploys)
    deploys.next_run()
    deploys.deploy("b" * 40, **PROCESSES)
    jobs = "app_blog_jobs@2.service app_blog_jobs@2-2.service"
    everything = f"{jobs} app_blog_alone@2.service"
    assert deploys.systemd.calls == [
        "daemon-reload",
        f"start {jobs}",
        f"show {jobs}",
        f"show {jobs}",
        # The switch is here.
        "stop app_blog_alone@1.service",
        "reset-failed app_blog_alone@1.service",
        "daemon-reload",
        "daemon-reload",
        "start app_blog_alone@2.service",
        "show app_blog_alone@2.service",
        "show app_blog_alone@2.service",
        f"show {everything}",
        "daemon-reload",
        # The drain is here.
        "stop app_blog_jobs@1-2.service app_blog_jobs@1.service",
        "reset-failed app_blog_jobs@1-2.service app_blog_jobs@1.service",
        "daemon-reload",
    ]
    with_processes(deploys)
    assert not [unit for unit in deploys.systemd.doubled if "alone" in unit]


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_a_rollback_brings_workers_and_timers_back(
    deploys: Host, monkeypatch: pytest.MonkeyPatch, warm: bool
) -> None:
    deploys.deploy("a" * 40, **PROCESSES)
    more = {"later": {"count": 1, "overlap": True}}
    deploys.deploy("b" * 40, workers={**PROCESSES["workers"], **more}, schedule={"hourly": "hourly"})
    with_processes(deploys)
    if not warm:
        lifecycle.stop(deploys.state, "blog@1")
    settled: list[Any] = []
    monkeypatch.setattr(app_units.time, "sleep", lambda seconds: settled.append(deploys.state.live_release()))
    assert "error" not in deploys.rollback()
    back = deploys.state.live_release()
    assert str(back).endswith("aaaaaaa")
    # A warm one is switched to at once; the wait for its workers comes after that.
    assert (settled[0] == back) is warm
    with_processes(deploys)


@pytest.mark.parametrize("before", [True, False], ids=["it was alone", "it is alone from now on"])
def test_alone_is_what_either_release_says(deploys: Host, before: bool) -> None:
    kinds = [{"jobs": {"count": 1, "overlap": overlap}} for overlap in (not before, before)]
    for revision, workers in zip("ab", kinds, strict=True):
        assert "error" not in deploys.deploy(revision * 40, workers=workers)
    assert deploys.systemd.doubled == []
    with_processes(deploys)


@pytest.mark.parametrize(
    ("dying", "phase"), [("app_blog_jobs@2.service", "start"), ("app_blog_alone@2.service", "switch")]
)
def test_a_worker_that_falls_leaves_the_old_release_with_its_own(
    deploys: Host, dying: str, phase: str
) -> None:
    deploys.deploy("a" * 40, **PROCESSES)
    deploys.systemd.dying.add(dying)
    outcome = deploys.deploy("b" * 40, **{**PROCESSES, "schedule": {"hourly": "hourly"}})
    assert outcome["phase"] == phase
    assert f"{dying} does not keep running: auto-restart, result exit-code, exit status 1" in outcome["error"]
    assert "No module named celery" in outcome["error"]
    assert str(deploys.state.live_release()).endswith("aaaaaaa")
    with_processes(deploys)


def test_a_first_release_whose_worker_falls_leaves_nothing(deploys: Host) -> None:
    deploys.systemd.dying.add("app_blog_alone@1.service")
    assert "does not keep running" in deploys.deploy(**PROCESSES)["error"]
    assert unit_names.all_units("blog") == []
    assert deploys.systemd.running == set()


@pytest.mark.parametrize("server", ["uwsgi", "gunicorn"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("then", ["again", "another", "rollback"])
def test_wherever_a_deploy_is_killed_nothing_runs_twice(
    deploys: Host, server: str, moment: str, then: str
) -> None:
    """At each single call of systemctl, until a deploy makes fewer calls than that."""
    processes = {**PROCESSES, "server": server} if server == "uwsgi" else {"server": server, **PROCESSES}
    digits = iter("123456789abcdef0" * 8)
    deploys.deploy("0" * 39 + "f", **processes)
    for call in range(1, 60):
        deploys.next_run()
        deploys.systemd.kill_at = (call, moment)
        revision = f"{call:02d}" + next(digits) * 38
        try:
            deploys.deploy(revision, **processes, fingerprint=f"2:{call}")
        except Killed:
            pass
        else:
            assert call > 10
            return
        deploys.next_run()
        if then == "rollback":
            outcome = deploys.rollback()
            if "there is no earlier good release" in str(outcome.get("error")):
                outcome = deploys.deploy(revision, **processes, fingerprint=f"2:{call}")
        else:
            chosen = revision if then == "again" else f"{call:02d}" + "e" * 38
            outcome = deploys.deploy(chosen, **processes, fingerprint=f"2:{call}")
        assert "error" not in outcome, (call, outcome)
        if server == "uwsgi":
            with_processes(deploys)
        else:
            deploys.settled()
        assert not [unit for unit in deploys.systemd.doubled if "alone" in unit], call
    raise AssertionError("a deploy does not end")
