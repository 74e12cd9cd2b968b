"""What the next run makes of one that died."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.release import lifecycle
from ansible_collections.emperor.stack.plugins.module_utils.release.lifecycle import NotHealthy

from .playing import Host, Killed

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
