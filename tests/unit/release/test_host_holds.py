"""Which hosts the balancers hold out, and which they let in again."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.release.host_holds import (
    at_end,
    of_left_out,
    of_silent,
    to_share,
)

APPS = {"blog": ["web1", "web2"]}


def result(outcome: Any, *phases: str, **more: Any) -> Any:
    return {"apps": {"blog": outcome}, "phases": phases, **more}


@pytest.mark.parametrize(
    ("second", "held"),
    [
        (result({"action": "deploy"}, "plan", "prepare", "start"), []),
        (result({"action": "deploy"}, "plan", "prepare"), ["web2"]),
        (result({"action": "deploy"}, "plan", "prepare", stopped="no route"), ["web2"]),
        ({}, ["web2"]),
        # It failed and said so: what is live there is known.
        (result({"action": "deploy", "error": "x"}, "plan", "prepare", "start"), []),
        (result({"action": "none"}, "plan"), []),
    ],
)
def test_a_host_that_gives_no_answer_is_held_out(second: Any, held: list[str]) -> None:
    results = {"web1": result({"action": "deploy"}, "plan", "prepare", "start"), "web2": second}
    assert [one["host"] for one in of_silent(APPS, results, ["blog"], "start")] == held
    assert of_silent(APPS, results, [], "start") == []


def test_some_host_is_left_to_answer() -> None:
    alone = {"blog": ["web1"]}
    assert of_silent(alone, {"web1": {}}, ["blog"], "start") == []
    assert of_silent(APPS, {"web1": {}, "web2": {}}, ["blog"], "start") == []


def test_a_host_that_does_not_take_part_is_held_out_of_what_changes() -> None:
    apps = {"blog": ["web1", "web2"], "shop": ["web2"]}
    assert of_left_out(apps, ["blog"], ["web2"]) == [{"app": "blog", "host": "web2", "held": True}]


def live(name: str = "r5", revision: str = "v5", **more: Any) -> Any:
    return {"apps": {"blog": {"action": "none", "live": name, "live_revision": revision, **more}}}


@pytest.mark.parametrize(
    ("results", "without", "let_in"),
    [
        ([live(), live()], [], ["web1", "web2"]),
        ([live("a5"), live("b5")], [], ["web1", "web2"]),
        ([live("r5", "v5"), live("r4", "v4")], [], []),
        # A run with --limit knows of one host alone.
        ([live(), {}], [], []),
        ([live(), {}], ["web2"], ["web1"]),
        ([live(), live(action="deploy")], [], []),
        ([live(), live(action="deploy", seconds=3.0)], [], ["web1", "web2"]),
        # It is called off, and all are where they were.
        ([live(action="deploy", error="x"), live(action="deploy", error="called off")], [], ["web1", "web2"]),
    ],
)
def test_hosts_are_let_in_where_all_have_the_same_release(results: Any, without: Any, let_in: Any) -> None:
    found = at_end(APPS, dict(zip(["web1", "web2"], results, strict=True)), without)
    assert [(one["host"], one["held"]) for one in found] == [(host, False) for host in let_in]


STAYED = live("r6", "v6", action="deploy", error="called off", release="r6")
BACK = live("r5", "v5", action="deploy", error="called off", release="r6")


@pytest.mark.parametrize(
    ("results", "held"),
    [
        ([STAYED, BACK], ["web1"]),
        # Both stayed: there is nothing to be kept from.
        ([STAYED, STAYED], []),
        ([BACK, live("r4", "v4")], []),
        # Somebody has to answer.
        ([STAYED, {}], []),
        # It vanished when it was told.
        (
            [live("r5", action="deploy", error="called off", phase="call_off"), live(action="deploy")],
            ["web2"],
        ),
        ([live("r5", action="deploy", error="drain: x", phase="drain"), live(action="deploy")], []),
    ],
)
def test_a_host_that_did_not_go_back_is_held_out(results: Any, held: list[str]) -> None:
    found = at_end(APPS, dict(zip(["web1", "web2"], results, strict=True)), [])
    assert [one["host"] for one in found if one["held"]] == held


WEB1, WEB2 = {"app": "blog", "host": "web1"}, {"app": "blog", "host": "web2"}


@pytest.mark.parametrize(
    ("results", "told", "shared"),
    [
        ([{"held": [WEB1]}, {"held": [WEB1]}], [], []),
        ([{"held": [WEB1]}, {"held": []}], [], ["web1"]),
        ([{"held": [WEB1]}, {"held": [WEB2]}], [], ["web1", "web2"]),
        ([{"held": [WEB1]}, {"held": []}], [{**WEB1, "held": False}], []),
        # One that does not answer holds what it held.
        ([{"held": [WEB1]}, {"unreachable": True}, {"failed": True}], [], []),
        ([{"unreachable": True}], [], []),
    ],
)
def test_a_balancer_that_was_down_learns_of_what_the_others_hold(
    results: Any, told: Any, shared: list[str]
) -> None:
    assert [(one["host"], one["held"]) for one in to_share(results, told)] == [
        (host, True) for host in shared
    ]
