"""Rollbacks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.release import lifecycle
from ansible_collections.emperor.stack.plugins.module_utils.release.lifecycle import NotHealthy
from ansible_collections.emperor.stack.plugins.module_utils.release.options import Options
from ansible_collections.emperor.stack.plugins.module_utils.release.phases import in_turn, phases_of

from .playing import MINE, Host


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


def test_a_warm_rollback_goes_through_each_phase_once(deploys: Host) -> None:
    deploys.deploy("a" * 40)
    deploys.deploy("b" * 40)
    deploys.calls.clear()
    outcome = in_turn(phases_of("rollback"), [deploys.spec()], deploys.options)["blog"]
    assert "error" not in outcome
    assert (outcome["activation"], outcome["done"]) == ("blog@1", ["start", "switch"])
    assert deploys.calls.count("probe") == deploys.calls.count("front") == 1
    deploys.settled()


def test_a_warm_rollback_that_fails_goes_no_further(deploys: Host) -> None:
    deploys.deploy("a" * 40)
    deploys.deploy("b" * 40)
    deploys.breaks["front"] = NotHealthy("answered 502")
    outcome = in_turn(phases_of("rollback"), [deploys.spec()], deploys.options)["blog"]
    assert outcome["error"].startswith("switch: answered 502")
    assert deploys.state.live_activation() == "blog@2"
    deploys.settled()


@pytest.mark.parametrize("wanted", ["", "a" * 40])
def test_the_run_after_one_that_died_finishes_the_rollback_that_all_hosts_agreed_on(
    deploys: Host, wanted: str
) -> None:
    deploys.deploy("a" * 40)
    target = str(deploys.state.live_release())
    deploys.deploy("b" * 40)
    for name in ("rollback", "start", "switch"):
        assert "error" not in deploys.phase(name, to_release=target)
    deploys.next_run()
    deploys.options = replace(deploys.options, to_version=wanted)
    for name in phases_of("rollback", alone=True):
        assert "error" not in deploys.phase(name, to_release=target)
    assert deploys.state.live_release() == target
    deploys.settled()


def test_a_cold_rollback_boots(deploys: Host) -> None:
    deploys.deploy("a" * 40)
    deploys.deploy("b" * 40)
    lifecycle.stop(deploys.state, "blog@1")
    deploys.rollback()
    assert deploys.state.live_activation() == "blog@3"
    assert str(deploys.state.live_release()).endswith("aaaaaaa")


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
        ("x", "Available: none"),
    ],
)
def test_rollbacks_to_nowhere(deploys: Host, wanted: str | None, says: str) -> None:
    deploys.deploy("a" * 40)
    deploys.options = Options(owner=MINE, to_release=wanted)
    assert says in deploys.rollback()["error"]
    assert deploys.state.lock() is None


@pytest.mark.parametrize("version", ["v1", "a" * 7, "a" * 40])
def test_a_version_or_a_commit_names_a_release(deploys: Host, version: str) -> None:
    for revision in "ab":
        deploys.deploy(revision * 40)
    deploys.state.mark(str(deploys.state.live_release()), version="v2")
    deploys.options = replace(deploys.options, to_version=version)
    deploys.rollback()
    assert str(deploys.state.live_release()).endswith("-aaaaaaa")


def test_a_version_that_no_release_has_is_refused_with_those_that_there_are(deploys: Host) -> None:
    for revision in "ab":
        deploys.deploy(revision * 40)
    deploys.options = replace(deploys.options, to_version="v9")
    error = deploys.rollback()["error"]
    assert "there is no good release v9 here. Available: " in error and "-aaaaaaa (v1)" in error


def test_a_host_says_what_it_can_return_to(deploys: Host) -> None:
    for revision in "abc":
        deploys.deploy(revision * 40)
    deploys.rollback()
    found = deploys.phase("choose")
    assert [(one["revision"][0], one["earlier"]) for one in found["choices"]] == [
        ("b", True),
        ("a", True),
        ("c", False),
    ]
    assert "unfinished" not in found
    # What was live after the live one is no earlier release, whatever became of it.
    deploys.state.mark(
        next(one["release"] for one in found["choices"] if one["revision"][0] == "c"), status="good"
    )
    again = deploys.phase("choose")["choices"]
    assert [(one["revision"][0], one["earlier"]) for one in again] == [("b", True), ("a", True), ("c", False)]
    assert deploys.state.lock() is None
