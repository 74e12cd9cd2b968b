"""What runs on one host of an app alone: it begins on a host only when no other host runs it any more."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.release import leading
from ansible_collections.emperor.stack.plugins.module_utils.release.phases import serving
from ansible_collections.emperor.stack.plugins.module_utils.systemd import app_units, unit_names
from ansible_collections.emperor.stack.plugins.plugin_utils.release import fleet
from ansible_collections.emperor.stack.plugins.plugin_utils.release.shared import Shared
from ansible_collections.emperor.stack.plugins.plugin_utils.release.specs import is_first

from .playing import Host

APP: dict[str, Any] = {
    "workers": {"jobs": {"count": 1, "overlap": True}, "beat": {"count": 1, "overlap": False}},
    "schedule": {"nightly": "03:00", "hourly": "1h"},
    "on_first": ["beat", "nightly"],
}
EACH = {"app_blog_jobs@1.service", "app_blog_hourly.service", "app_blog_hourly.timer"}
FIRST = {"app_blog_beat@1.service", "app_blog_nightly.service", "app_blog_nightly.timer"}


@pytest.fixture(autouse=True)
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """No scheduled command runs."""
    monkeypatch.setattr(app_units, "running_commands", lambda app, names: [])


def units() -> set[str]:
    return set(unit_names.all_units("blog"))


def lead(deploys: Host, leads: bool) -> dict[str, Any]:
    """As the tasks do: the plan, and what it says that is to move."""
    plan = deploys.phase("plan", leads=leads, **APP)
    for phase in ("stand_down", "take_over"):
        if plan.get("lead"):
            deploys.phase(phase, lead=plan["lead"])
    return plan


def test_a_host_that_does_not_lead_runs_the_rest_and_moves_without_a_new_release(deploys: Host) -> None:
    deploys.deploy("a" * 40, **APP)
    assert units() == EACH
    assert lead(deploys, True)["lead"] == "gain"
    assert units() == EACH | FIRST and serving("blog", deploys.options)["leads"] is True
    plan = lead(deploys, True)
    assert "lead" not in plan and plan["action"] == "none"
    plan = lead(deploys, False)
    assert (plan["lead"], plan["action"], plan["changed"]) == ("lose", "none", True)
    assert units() == EACH and serving("blog", deploys.options)["leads"] is False


def test_a_deploy_and_a_rollback_leave_it_on_the_host_that_leads(deploys: Host) -> None:
    deploys.deploy("a" * 40, **APP)
    lead(deploys, True)
    deploys.deploy("b" * 40, **APP)
    assert {unit.replace("@2", "@1") for unit in units()} == EACH | FIRST
    deploys.rollback()
    assert units() == EACH | FIRST
    lead(deploys, False)
    deploys.deploy("b" * 40, force=True, **APP)
    deploys.deploy("c" * 40, **APP)
    assert not [unit for unit in units() if "beat" in unit or "nightly" in unit]


def test_a_command_that_still_runs_keeps_it_on_the_host(
    deploys: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploys.deploy("a" * 40, **APP)
    lead(deploys, True)
    asked: list[list[str]] = []

    def running(app: str, names: list[str]) -> list[str]:
        asked.append(list(names))
        return ["nightly"]

    monkeypatch.setattr(leading, "PATIENCE", 0)
    monkeypatch.setattr(app_units, "running_commands", running)
    outcome = deploys.phase("stand_down", lead="lose")
    assert "the scheduled command nightly still runs here" in outcome["error"]
    assert units() == EACH | FIRST and deploys.state.leads()
    assert asked[0] == ["nightly"]


@pytest.mark.parametrize(
    ("others", "moves"),
    [
        ([{"action": "none", "leads": False}], True),
        ([{"action": "none", "lead": "lose", "leads": False}], True),
        ([{"action": "none", "lead": "lose", "leads": True}], False),
        ([{"action": "none", "lead": "lose", "leads": True, "error": "nightly still runs"}], False),
        # It did not answer.
        ([{}], False),
        ([], True),
    ],
)
def test_a_host_begins_when_all_others_have_ended(others: list[Any], moves: bool) -> None:
    outcomes = [{"action": "none", "lead": "gain", "leads": False}, *others]
    hosts = [f"web{number}" for number, _ in enumerate(outcomes)]
    results = {host: {"apps": {"blog": one}} for host, one in zip(hosts, outcomes, strict=True)}
    stays = fleet.not_moved({"blog": hosts}, results)
    assert (stays == []) is moves
    apps = [{"name": "blog"}]
    assert Shared("web0", {"not_moved": stays}).concerned(apps, ["take_over"]) == (apps if moves else [])


GAINS = {"action": "deploy", "lead": "gain", "leads": False, "live": "new"}
LOSES = {"action": "none", "lead": "lose", "leads": True, "live": "new"}


@pytest.mark.parametrize(
    ("others", "ends"),
    [
        ([GAINS], True),
        # Its first deploy failed; it does not answer; nothing was pushed to it yet.
        ([{**GAINS, "error": "prepare: no such package"}], False),
        ([{}], False),
        ([{**GAINS, "action": "held", "live": None}], False),
        # It runs it too, as it was away when another host took over.
        ([{"action": "none", "leads": True, "live": "new"}], True),
        ([LOSES], False),
    ],
)
def test_a_host_ends_it_where_another_can_begin_it(others: list[Any], ends: bool) -> None:
    hosts = [f"web{number}" for number in range(len(others) + 1)]
    results = {host: {"apps": {"blog": one}} for host, one in zip(hosts, [LOSES, *others], strict=True)}
    stays = fleet.left_to_nobody({"blog": hosts}, results)
    assert (stays == []) is ends
    apps = [{"name": "blog"}]
    assert Shared("web0", {"not_moved": stays}).concerned(apps, ["stand_down"]) == (apps if ends else [])
    silent = {**results, "web1": {"stopped": "no space left", "apps": {"blog": GAINS}}}
    assert fleet.left_to_nobody({"blog": hosts}, silent) == ["blog"]
    assert fleet.left_to_nobody({"blog": hosts[1:]}, {"web1": {"apps": {"blog": GAINS}}}) == []


def test_the_first_host_of_the_inventory_leads_where_all_hosts_take_part() -> None:
    app = {"name": "blog", "workers": {}, "schedule": {"nightly": {"run_on": "first"}}}
    hostvars = {name: {"python_apps": [{"name": "blog"}]} for name in ("web1", "web2")}
    hostvars |= {"db": {"python_apps": []}, "old": {"python_apps": [{"name": "blog", "state": "absent"}]}}
    variables = {
        "groups": {"app_hosts": ["db", "old", "web1", "web2"]},
        "hostvars": hostvars,
        "ansible_play_hosts_all": ["db", "old", "web1", "web2"],
    }
    assert is_first(app, {**variables, "inventory_hostname": "web1"}) is True
    assert is_first(app, {**variables, "inventory_hostname": "web2"}) is False
    # With --limit nobody knows what the other host runs.
    alone = {**variables, "ansible_play_hosts_all": ["web1"], "inventory_hostname": "web1"}
    assert is_first(app, alone) is None
    each = {**app, "schedule": {"nightly": {"run_on": "each"}}}
    assert is_first(each, {**variables, "inventory_hostname": "web1"}) is None
