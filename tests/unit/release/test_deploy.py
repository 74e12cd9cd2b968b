"""The phases that bring a release live."""

from __future__ import annotations

import dataclasses
import os

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.release import lifecycle
from ansible_collections.emperor.stack.plugins.module_utils.release.options import Options

from .playing import MINE, Host


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


def test_one_that_was_left_before_this_deploy_is_looked_at_less_often(deploys: Host) -> None:
    deploys.options = Options(owner=MINE, keep_releases=3, keep_warm=1)
    deploys.deploy("a" * 40)
    deploys.deploy("b" * 40)
    deploys.deploy("c" * 40)
    # The one before may have taken a connection in the moment of the switch.
    assert deploys.looks == {"blog@1": lifecycle.LONG_LEFT, "blog@2": lifecycle.JUST_LEFT}


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


def test_a_start_that_fails_says_which_host_has_migrated_the_database(
    deploys: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise lifecycle.NotHealthy("no such table: notes_note")

    monkeypatch.setattr(lifecycle, "wait_until_healthy", fail)
    hint = "\nThe database was migrated on web1 alone. If each host has one of its own, such as SQLite in a persistent "
    said = deploys.deploy("a" * 40, migrate="python manage.py migrate", migrated_on="web1")["error"]
    assert "no such table: notes_note" in said and hint in said and "`migrate_on: each`" in said
    for changes in ({"migrate": "python manage.py migrate"}, {"migrate": None, "migrated_on": "web1"}):
        assert hint not in deploys.deploy("b" * 40, **changes)["error"]


def test_over_several_hosts_the_switch_of_an_app_has_an_end(deploys: Host) -> None:
    """All apps of a host are confirmed together: one that takes its time would have the others go back."""
    deploys.deploy("a" * 40)
    assert deploys.patience["before_switch"] == deploys.patience["after_switch"] == 1800
    assert deploys.patience["front"] == 60
    deploys.options = dataclasses.replace(deploys.options, confirm_within=90)
    deploys.deploy("b" * 40)
    assert 25 < deploys.patience["after_switch"] <= deploys.patience["before_switch"] <= 30
    # Three answers, each of which may take a third of what is left.
    assert 8 < deploys.patience["front"] <= 10
    # What comes before and after it holds nobody.
    assert deploys.patience["before_start"] == deploys.patience["before_drain"] == 1800
