"""The plan of a deploy, as people see it before it is carried out."""

from __future__ import annotations

from typing import Any

from ansible_collections.emperor.stack.plugins.plugin_utils.console import release_plan


def planned(action: str = "deploy", **more: str) -> dict[str, Any]:
    versions = {
        "live_version": "v1.4",
        "live_revision": "9f8e7d6" + "0" * 33,
        "wanted_version": "v1.5",
        "wanted_revision": "5d6e7f8" + "0" * 33,
    }
    return {"action": action, "why": "its settings changed", **versions, **more}


def test_apps_of_several_hosts_are_one_table() -> None:
    plans = {
        **{f"web{number}": {"apps": {"blog": planned(), "idle": planned("none")}} for number in range(1, 6)},
        "old1": {"apps": {"blog": planned(live_version="v1.3"), "shop": planned("held")}},
        "new1": {
            "apps": {"api": {"action": "deploy", "why": "nothing is live", "wanted_revision": "a" * 40}}
        },
        "gone": {"failed": True, "msg": "unreachable"},
    }
    assert release_plan.lines(plans) == [
        "2 apps get a new release:",
        "app     live          wanted        why                   hosts",
        "  api   -             aaaaaaa       nothing is live       new1",
        "  blog  v1.3 9f8e7d6  v1.5 5d6e7f8  its settings changed  old1",
        "  blog  v1.4 9f8e7d6  v1.5 5d6e7f8  its settings changed  web1, web2, web3 and 2 more",
    ]


def test_one_host_is_not_named() -> None:
    assert release_plan.lines({"web1": {"apps": {"blog": planned("finish")}}}, check=True) == [
        "1 app would get a new release:",
        "app     live          wanted        why",
        "  blog  v1.4 9f8e7d6  v1.5 5d6e7f8  its settings changed",
    ]


def test_nothing_is_shown_of_what_is_done_or_of_no_plan() -> None:
    done = {"apps": {"blog": planned()}, "phases": ["plan", "prepare", "migrate"]}
    assert release_plan.lines({"web1": done}) == []
    assert release_plan.lines({"web1": done}, check=True) != []
    assert release_plan.lines({"web1": {"apps": {"blog": planned("none")}}, "web2": {}}) == []
    assert release_plan.lines({"web1": {"apps": {"blog": planned(error="no such branch")}}}) == []
