"""The table of phases, and how the apps of a host go through them."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from threading import Event, Lock

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed
from ansible_collections.emperor.stack.plugins.module_utils.host.release_error import ReleaseError
from ansible_collections.emperor.stack.plugins.module_utils.release import phases as release_phases
from ansible_collections.emperor.stack.plugins.module_utils.release.options import Options, Outcome
from ansible_collections.emperor.stack.plugins.module_utils.release.phase import Phase
from ansible_collections.emperor.stack.plugins.module_utils.release.phases import (
    going_on,
    in_turn,
    phases_of,
    run_phase,
    together,
)
from ansible_collections.emperor.stack.plugins.module_utils.release.spec import ReleaseSpec
from ansible_collections.emperor.stack.plugins.module_utils.release.state import AppState, Manifest

from tools.project import ROOT

from .playing import MINE, PHASES_OF_A_DEPLOY, THEIRS, WHOLE, Host


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


def test_going_on_are_those_that_passed_and_that_a_plan_wants() -> None:
    outcomes = {
        "a": {"action": "deploy", "revision": "r1", "why": "x"},
        "b": {"action": "none", "revision": "r2"},
        "c": {"action": "finish", "revision": "r3"},
        "d": {"action": "held", "revision": "r4"},
        "e": {"error": "x"},
        # In check mode, where nothing is set up yet.
        "f": {"action": "deploy"},
        "g": {"release": "r", "done": ["start"]},
        "i": {"action": "deploy", "revision": "r1", "error": "x"},
    }
    assert going_on([{"name": name} for name in "abcdefghi"], outcomes) == [
        {"name": "a", "action": "deploy", "revision": "r1"},
        {"name": "c", "action": "finish", "revision": "r3"},
        {"name": "g", "done": ["start"]},
    ]


def test_outcomes_of_phases_one_after_the_other_are_one() -> None:
    before = {"a": {"action": "deploy", "changed": True, "warnings": ["x"]}, "b": {"action": "none"}}
    after = {"a": {"release": "r", "changed": False, "warnings": ["y", "x"]}, "c": {}}
    assert together(before, after) == {
        "a": {"action": "deploy", "changed": True, "release": "r", "warnings": ["x", "y"]},
        "b": {"action": "none"},
        "c": {},
    }


def test_nothing_that_leads_to_a_switch_is_begun_for_nobody(
    deploys: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = iter([True, True, False])
    monkeypatch.setattr(release_phases, "somebody_waits", lambda: next(waits))
    in_turn(phases_of("deploy", alone=True), [deploys.spec()], deploys.options)
    assert deploys.calls[-1] == "after_migrate"
    held = deploys.state.lock()
    assert held and held.phase == "migrate"
    # What a switch has left to do is done all the same.
    deploys.next_run()
    waits = iter([True, True, True, True])
    in_turn(phases_of("deploy", alone=True), [deploys.spec()], deploys.options)
    deploys.settled()


def test_an_app_that_is_ready_goes_live_before_a_slow_build_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And no more apps are in a phase at once than it lets in."""
    live, inside, most = Event(), Counter[str](), Counter[str]()
    counting = Lock()

    def build(name: str, spec: ReleaseSpec, _: Options) -> Outcome:
        with counting:
            inside[name] += 1
            most[name] = max(most[name], inside[name])
        if spec["name"] == "slow":
            assert live.wait(10), "an app that is ready waits for the slow build"
        with counting:
            inside[name] -= 1
        return {}

    def switch(name: str, spec: ReleaseSpec, options: Options) -> Outcome:
        build(name, spec, options)
        if spec["name"] == "last":
            live.set()
        return {"activation": f"{spec['name']}@1"}

    table = {
        "prepare": Phase("prepare", "", build, apps_at_once=2, leads_to_switch=True),
        "switch": Phase("switch", "", switch, leads_to_switch=True),
    }
    monkeypatch.setattr(release_phases, "PHASES", table)
    monkeypatch.setattr(release_phases, "serving", lambda *_: {})
    names = ["slow", *(f"app{number}" for number in range(9)), "last"]
    outcomes = in_turn(list(table), [{"name": name} for name in names], Options())
    assert outcomes == {name: {"activation": f"{name}@1"} for name in names}
    assert (most["prepare"], most["switch"]) == (2, 1)


def test_no_app_waits_behind_those_before_a_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: an app that needs no build is done before the builds of forty others are."""
    done = Event()

    def plan(name: str, spec: ReleaseSpec, _: Options) -> Outcome:
        if spec["name"] == "quick":
            done.set()
            return {"action": "none"}
        return {"action": "deploy", "revision": "r"}

    def build(name: str, spec: ReleaseSpec, _: Options) -> Outcome:
        if done.wait(5):
            return {}
        done.set()
        return {"error": "the quick one waits"}

    table = {"plan": Phase("plan", "", plan, apps_at_once=8), "prepare": Phase("prepare", "", build)}
    monkeypatch.setattr(release_phases, "PHASES", table)
    monkeypatch.setattr(release_phases, "serving", lambda *_: {})
    names = [*(f"slow{number}" for number in range(40)), "quick"]
    outcomes = in_turn(list(table), [{"name": name} for name in names], Options())
    assert not [name for name in names if outcomes[name].get("error")]


def test_after_ctrl_c_no_phase_is_begun_that_leads_to_a_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The phase that runs ends, and others wait for their turn at its gate."""
    calls: list[str] = []

    def build(name: str, spec: ReleaseSpec, _: Options) -> Outcome:
        calls.append(f"{name} {spec['name']}")
        if name == "prepare":
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        calls.append(f"{name} {spec['name']} ended")
        return {}

    table = {
        name: Phase(name, "", build, leads_to_switch=name != "plan") for name in ("plan", "prepare", "switch")
    }
    monkeypatch.setattr(release_phases, "PHASES", table)
    monkeypatch.setattr(release_phases, "somebody_waits", lambda: True)
    # Whoever starts the tests in the background lets them ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            in_turn(list(table), [{"name": "blog"}, {"name": "shop"}], Options())
    finally:
        signal.signal(signal.SIGINT, before)
    first = calls[2].split()[-1] if calls[2].startswith("prepare") else calls[1].split()[-1]
    assert sorted(one for one in calls if not one.startswith("plan")) == [
        f"prepare {first}",
        f"prepare {first} ended",
    ]


def test_each_phase_of_the_architecture_is_one_of_the_table_and_the_other_way_round() -> None:
    text = (ROOT / "docs/architecture.md").read_text().split("## Life of a release")[1]
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert rows[1 : 1 + len(phases_of("deploy"))] == phases_of("deploy")


def test_one_app_that_fails_leaves_the_others_alone(deploys: Host) -> None:
    deploys.breaks["prepare"] = ReleaseError("no")
    missing = deploys.spec(name="shop")
    outcomes = run_phase("prepare", [missing, deploys.spec()], deploys.options)
    assert "is not set up on the host" in outcomes["shop"]["error"]
    assert outcomes["blog"]["error"].startswith("prepare: no")


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
    outcomes = run_phase(phase, [deploys.spec(name="shop"), deploys.spec()], deploys.options)
    assert "RecursionError: maximum recursion depth exceeded" in outcomes["shop"]["error"]
    assert "RecursionError" not in str(outcomes["blog"])


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
    assert held.since in outcome["error"]
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
