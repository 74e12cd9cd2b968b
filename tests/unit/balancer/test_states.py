"""Decisions about one host, by what the balancers say of it."""

from __future__ import annotations

from typing import Any

from ansible_collections.emperor.stack.plugins.plugin_utils.balancer import states


def server(status: str, scur: int = 0) -> dict[str, Any]:
    return {"status": status, "scur": scur}


ALL_UP = {
    "blog": {"a1": server("UP"), "a2": server("UP 1/2")},
    "wiki": {"a1": server("UP"), "a2": server("DOWN")},
}


def test_only_balancers_that_answered_count() -> None:
    results = [
        {"__balancer": "lb1", "process": 7, "servers": ALL_UP},
        {"__balancer": "lb2", "unreachable": True},
        {"__balancer": "lb3", "failed": True, "msg": "no"},
        {"__balancer": "lb4", "process": 0, "servers": {}},
        {"skipped": True},
    ]
    assert states.said(results) == [("lb1", ALL_UP)]


def test_the_last_host_that_is_up_is_found_for_each_app() -> None:
    assert states.only_on([ALL_UP], "a1", ["blog", "wiki"]) == ["wiki"]
    assert states.only_on([ALL_UP], "a2", ["blog", "wiki"]) == []
    drained = {"blog": {"a1": server("UP"), "a2": server("NOLB"), "a3": server("MAINT")}}
    assert states.only_on([drained], "a1", ["blog"]) == ["blog"]
    assert states.only_on([drained], "a2", ["blog"]) == []
    # One balancer that sees no other host is enough.
    assert states.only_on([ALL_UP, drained], "a1", ["blog"]) == ["blog"]
    assert states.only_on([ALL_UP], "a1", ["unknown"]) == []


def test_a_host_is_busy_while_it_gets_requests_or_has_some() -> None:
    assert states.busy([{"blog": {"a1": server("NOLB", 2)}}], "a1") == ["blog"]
    assert states.busy([{"blog": {"a1": server("UP")}}], "a1") == ["blog"]
    assert states.busy([{"blog": {"a1": server("NOLB")}, "wiki": {"a1": server("DOWN 1/2")}}], "a1") == []
    assert states.busy([ALL_UP], "a9") == []


def test_a_host_is_in_when_each_app_is_up_or_held_out_on_purpose() -> None:
    assert states.out([ALL_UP], "a2", ["blog", "wiki"]) == ["wiki"]
    assert states.out([{"blog": {"a1": server("MAINT")}}], "a1", ["blog"]) == []
    assert states.out([{"blog": {}}], "a1", ["blog"]) == ["blog"]
