"""The table of phases, as the tasks read it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.emperor.stack.plugins.filter.phases import exchanges

DEPLOY = ["plan", "prepare", "migrate", "start", "switch", "drain"]
ROLLBACK = ["rollback", "start", "switch", "drain"]


def over_hosts(kind: str, names: list[str]) -> list[str]:
    """*names*, and the phases that only several hosts go through."""
    agreed = ["choose"] if kind == "rollback" else []
    return [*agreed, *names[:-1], "confirm", names[-1]]


def shape(of: list[dict[str, Any]]) -> list[list[str]]:
    return [[one["phase"], *one["then"]] for one in of]


@pytest.mark.parametrize(("kind", "names"), [("deploy", DEPLOY), ("rollback", ROLLBACK)])
def test_a_host_that_is_alone_goes_through_all_in_one_exchange_and_others_one_by_one(
    kind: str, names: list[str]
) -> None:
    assert shape(exchanges(kind, True)) == [names]
    assert shape(exchanges(kind, False)) == [[name] for name in over_hosts(kind, names)]


@pytest.mark.parametrize("alone", [True, False])
def test_only_what_is_left_comes_after_a_result(alone: bool) -> None:
    plan = {"changed": True, "phases": ["plan"]}
    left = exchanges("deploy", alone, plan)
    assert [name for each in shape(left) for name in each] == (
        DEPLOY if alone else over_hosts("deploy", DEPLOY)
    )[1:]
    assert [one["first"] for one in left] == [False] * len(left)
    whole = DEPLOY if alone else over_hosts("deploy", DEPLOY)
    assert exchanges("deploy", alone, {"changed": True, "phases": whole}) == []
    assert exchanges("deploy", alone, {**plan, "changed": False}) == []
    # It came to no end, so nobody knows what differs.
    assert exchanges("deploy", alone, {"failed": True, "msg": "MODULE FAILURE"}) == []


def test_what_the_tasks_are_told() -> None:
    by_name = {one["phase"]: one for one in exchanges("deploy", False) + exchanges("rollback", False)}
    assert [name for name, one in by_name.items() if one["first"]] == ["plan", "choose"]
    assert [name for name, one in by_name.items() if one["makes_releases"]] == ["prepare"]
    assert {name: one["hosts_at_once"] for name, one in by_name.items() if one["hosts_at_once"]} == {
        "migrate": 1
    }
    assert [name for name, one in by_name.items() if not one["barrier"]] == ["plan", "drain"]
    assert by_name["migrate"]["title"] == "Migrate the databases"
    (alone,) = exchanges("rollback", True)
    assert alone["title"] == "Go through rollback, start, switch, drain"
    assert (alone["first"], alone["hosts_at_once"], alone["barrier"]) == (True, 0, False)


def test_there_are_no_other_kinds() -> None:
    with pytest.raises(AnsibleFilterError, match="undo has no phases; deploy and rollback have"):
        exchanges("undo", True)
