"""Which hosts switch first, and what balancers' counters say of them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.release.phases import exchanges, phases_of
from ansible_collections.emperor.stack.plugins.plugin_utils.release import canary, fleet
from ansible_collections.emperor.stack.plugins.plugin_utils.release.shared import Shared

from tools.project import ROOT

D, F, N = "deploy", "finish", "none"


@pytest.mark.parametrize(
    ("actions", "wanted", "first"),
    [
        ([D, D, D], 1, ["web1"]),
        ([D, D, D], 2, ["web1", "web2"]),
        # One comes later always.
        ([D, D, D], 9, ["web1", "web2"]),
        ([N, D, D], 1, ["web2"]),
        # Nobody is left to be kept from it.
        ([N, N, D], 1, []),
        ([N, N, N], 1, []),
        # A killed run had switched it, or them.
        ([D, F, D], 1, ["web2"]),
        ([D, F, F], 1, ["web2", "web3"]),
        ([F, F, F], 1, []),
        ([D, None, D], 1, ["web1"]),
        ([D, "held", D], 1, ["web1"]),
    ],
)
def test_the_first_hosts_switch_first_and_never_all(
    actions: list[str | None], wanted: int, first: list[str]
) -> None:
    by_host = {f"web{number}": action for number, action in enumerate(actions, 1)}
    assert canary.first_hosts(by_host, wanted) == first


@pytest.mark.parametrize(
    ("actions", "wanted", "serving", "first"),
    [
        # web1 missed a deploy, and is held out: it would get no requests.
        ([D, D, D], 1, {"web2", "web3"}, ["web2"]),
        ([D, D, D], 2, {"web3"}, ["web3", "web1"]),
        ([D, D, D], 1, set(), ["web1"]),
        ([F, D, D], 1, {"web3"}, ["web1"]),
    ],
)
def test_hosts_that_get_no_requests_go_first_only_where_nobody_else_is_left(
    actions: list[str | None], wanted: int, serving: set[str], first: list[str]
) -> None:
    by_host = {f"web{number}": action for number, action in enumerate(actions, 1)}
    assert canary.first_hosts(by_host, wanted, serving) == first


@pytest.mark.parametrize(
    ("statuses", "hosts"),
    [
        ([{"web1": "MAINT", "web2": "UP 1/2"}], {"web2"}),
        ([{"web1": "NOLB", "web2": "DOWN"}, {"web1": "UP"}], {"web1"}),
        ([], None),
    ],
)
def test_a_host_serves_that_some_balancer_sends_requests_to(
    statuses: list[dict[str, str]], hosts: set[str] | None
) -> None:
    results = [
        {"process": 7, "servers": {"blog": {host: {"status": status} for host, status in one.items()}}}
        for one in statuses
    ]
    assert canary.serving("blog", [*results, {"unreachable": True}]) == hosts


CANARY: canary.Canary = {"hosts": ["web1"], "seconds": 60, "requests": 100, "errors": "1%"}


@pytest.mark.parametrize(
    ("requests", "errors", "seconds", "said"),
    [
        (0, 0, 0, None),
        (5000, 0, 59.9, None),
        (5000, 0, 60, ""),
        (100, 1, 60, ""),
        (100, 2, 60, "2 of 100 requests failed; fleet.canary.errors allows 1%"),
        (5000, 50, 60, ""),
        (5000, 51, 60, "51 of 5000 requests failed; fleet.canary.errors allows 1%"),
        # Before the time is over.
        (5000, 51, 6, "51 of 5000 requests failed; fleet.canary.errors allows 1%"),
        (2, 2, 6, "2 of 2 requests failed; fleet.canary.errors allows 1%"),
        # 99 good ones can still come.
        (1, 1, 6, None),
        # Nobody came, or too few: that is no success.
        (0, 0, 60, "0 requests in 60 s are too few to judge it by; fleet.canary.requests wants 100"),
        (99, 0, 61, "99 requests in 60 s are too few to judge it by; fleet.canary.requests wants 100"),
    ],
)
def test_an_app_goes_on_after_enough_requests_with_few_errors(
    requests: int, errors: int, seconds: float, said: str | None
) -> None:
    found = canary.decide(CANARY, {"requests": requests, "errors": errors}, seconds)
    assert found == (f"canary web1: {said}" if said else said)


@pytest.mark.parametrize(
    ("text", "of_10000"), [("0%", 0), ("1%", 100), ("0.5%", 50), ("0.25%", 25), ("99%", 9900)]
)
def test_shares_are_exact(text: str, of_10000: int) -> None:
    assert canary.share(text) * 10000 == of_10000


def said(balancer: str, process: int, host: str = "web1", **counters: int) -> dict[str, Any]:
    return {"__balancer": balancer, "process": process, "servers": {"blog": {host: counters}}}


def counted(*looks: list[dict[str, Any]]) -> dict[str, Any]:
    watched: canary.Watched = {}
    for number, results in enumerate(looks):
        watched = canary.watch({"blog": CANARY}, watched, results, 1000.0 + number)
    return dict(watched["counts"]["blog"])


@pytest.mark.parametrize(
    ("looks", "requests", "errors"),
    [
        # What was counted before they switched is not theirs.
        ([[said("lb1", 7, hrsp_2xx=900, hrsp_5xx=9)]], 0, 0),
        ([[said("lb1", 7, hrsp_2xx=900)], [said("lb1", 7, hrsp_2xx=905, hrsp_3xx=1, hrsp_4xx=2)]], 8, 0),
        ([[said("lb1", 7)], [said("lb1", 7, hrsp_5xx=1, eresp=2, econ=4)]], 7, 7),
        # All balancers together, also where one has no answer for a while.
        (
            [
                [said("lb1", 7, hrsp_2xx=1), said("lb2", 8, hrsp_2xx=100)],
                [said("lb1", 7, hrsp_2xx=2), {"__balancer": "lb2", "unreachable": True}],
                [said("lb1", 7, hrsp_2xx=3), said("lb2", 8, hrsp_2xx=110, hrsp_5xx=1)],
            ],
            13,
            1,
        ),
        # A reload: another process counts from 0.
        ([[said("lb1", 7, hrsp_2xx=900)], [said("lb1", 9, hrsp_2xx=5)], [said("lb1", 9, hrsp_2xx=7)]], 7, 0),
        # It appears in the middle, having counted since yesterday.
        ([[], [said("lb2", 8, hrsp_2xx=900)], [said("lb2", 8, hrsp_2xx=901)]], 1, 0),
        # Of other hosts nothing is counted.
        ([[said("lb1", 7, "web2")], [said("lb1", 7, "web2", hrsp_5xx=50)]], 0, 0),
        # HAProxy does not run.
        ([[said("lb1", 7)], [{"__balancer": "lb1", "process": 0, "servers": {}}]], 0, 0),
    ],
)
def test_what_balancers_count_is_added_up(looks: list[Any], requests: int, errors: int) -> None:
    assert counted(*looks) == {"requests": requests, "errors": errors}


def test_each_app_is_watched_for_its_own_time() -> None:
    canaries: dict[str, canary.Canary] = {
        "blog": {**CANARY, "requests": 1},
        "shop": {**CANARY, "seconds": 20, "requests": 1},
    }
    watched = canary.watch(canaries, {}, [said("lb1", 7)], 100.0)
    assert (watched["open"], watched["reasons"]) == (["blog", "shop"], {})
    watched = canary.watch(canaries, watched, [said("lb1", 7, hrsp_2xx=5)], 120.0)
    assert watched["open"] == ["blog"] and "too few" in watched["reasons"]["shop"]
    watched = canary.watch(canaries, watched, [said("lb1", 7, hrsp_2xx=9)], 160.0)
    assert watched["open"] == [] and watched["reasons"]["blog"] == ""
    assert "too few" in watched["reasons"]["shop"]
    assert list(canary.told(canaries, watched)) == [
        "blog: canary web1: 9 requests, 0 failed: the other hosts follow",
        "shop: canary web1: 0 requests, 0 failed: called off",
    ]


def test_an_app_whose_first_hosts_do_badly_is_called_off_on_all() -> None:
    going = {"action": "deploy", "revision": "a" * 40}
    results = {
        host: {"apps": {"blog": going, "shop": going}, "phases": ["canary"]} for host in ("web1", "web2")
    }
    hosts = ["web1", "web2"]
    found = fleet.verdict(
        {"blog": hosts, "shop": hosts},
        results,
        "canary",
        "20261201T100000",
        watched={"blog": "bad", "shop": ""},
    )
    assert found["called_off"] == {"blog": "bad"}


def test_the_plan_names_the_hosts_that_go_first() -> None:
    going = {"action": "deploy", "revision": "a" * 40}
    results = {host: {"apps": {"blog": going}, "phases": ["plan"]} for host in ("web1", "web2")}
    settings: canary.Settings = {"hosts": 1, "seconds": 60, "requests": 100, "errors": "1%"}
    found = fleet.verdict(
        {"blog": ["web1", "web2"]}, results, "plan", "20261201T100000", canary={"blog": settings}
    )
    assert found["canaries"] == {"blog": CANARY}
    apps = [{"name": "blog"}, {"name": "shop"}]
    assert Shared("web1", found).concerned(apps, ["canary"]) == [{"name": "blog"}]
    assert Shared("web2", found).concerned(apps, ["canary"]) == []
    assert Shared("web2", found).concerned(apps, ["switch"]) == apps


def test_some_hosts_go_first_right_before_the_switch_and_only_where_an_app_wants_that() -> None:
    names = [one["phase"] for one in exchanges("deploy", False, canary=True)]
    assert names == ["plan", "prepare", "migrate", "start", "canary", "switch", "confirm", "drain"]
    assert "canary" not in [one["phase"] for one in exchanges("deploy", False)]
    (alone,) = exchanges("deploy", True, canary=True)
    assert "canary" not in alone["then"]
    assert "canary" not in phases_of("rollback", canary=True)


def test_the_tasks_look_as_often_as_the_time_is_divided_for() -> None:
    variables = (ROOT / "roles/python_apps/vars/main.yml").read_text()
    assert f"__python_apps_looks: {canary.LOOKS}\n" in variables
    assert canary.pause({"blog": CANARY, "shop": {**CANARY, "seconds": 5}}) == 6
    assert canary.pause({"shop": {**CANARY, "seconds": 5}}) == 1
