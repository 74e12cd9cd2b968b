"""Each app over all of its hosts."""

from __future__ import annotations

from typing import Any

from ansible_collections.emperor.stack.plugins.module_utils.console import report
from ansible_collections.emperor.stack.plugins.plugin_utils.console.fleet_status import drifting, of_fleet

HOSTS = ["web1", "web2", "web3"]


def live(version: str, health: str = "ok", name: str = "") -> dict[str, Any]:
    revision = version.encode().hex() * 5
    release = name or f"20261201T100000-{revision[:7]}"
    return {
        "blog": {"live": {"release": release, "version": version, "revision": revision}, "health": health}
    }


def shown(*balancers: dict[str, Any], **found: Any) -> list[str]:
    made = of_fleet({"blog": HOSTS}, found, balancers)
    return report.text([("web1", report.valid(made))]).splitlines()


def test_hosts_with_one_release_are_one_line() -> None:
    assert shown(web1=live("v5"), web2=live("v5"), web3=live("v5")) == [
        "app   release                  version  hosts  health  drift",
        "blog  20261201T100000-7635763  v5         3/3  ok      -",
    ]
    # As an earlier version named them: the same revision is no drift.
    assert (
        drifting({"blog": HOSTS}, {"web1": live("v5"), "web2": live("v5", name="20261201T100001-7635763")})
        == []
    )


def test_a_host_with_another_revision_is_named() -> None:
    lines = shown(web1=live("v5"), web2=live("v4", health="502"), web3=live("v5"))
    assert lines[1] == "blog  20261201T100000-7635763  v5         2/3  ok on 2/3  web2 [1]"
    assert lines[-1] == "[1] blog: web2 has 20261201T100000-7634763 (v4) live, unlike web1, web3"
    apps = {"blog": HOSTS}
    assert drifting(apps, {"web1": live("v5"), "web2": live("v4"), "web3": live("v5")}) == [
        "blog: web2 has 20261201T100000-7634763 (v4) live, unlike web1, web3"
    ]


def test_a_host_without_a_release_drifts_and_one_without_an_answer_is_not_known() -> None:
    empty = {"blog": {"live": None, "health": "nothing is live"}}
    found = {"web1": live("v5"), "web2": empty}
    assert drifting({"blog": HOSTS}, found) == ["blog: web2 has no release live, unlike web1"]
    assert "[2] blog: web3 does not answer: its release is not known" in shown(**found)
    assert drifting({"blog": HOSTS}, {"web1": live("v5")}) == []


def test_the_table_of_all_hosts_names_none_above_its_rows() -> None:
    across = of_fleet({"blog": HOSTS}, {"web1": live("v5"), "web2": live("v5")})
    one = report.of_host("x", "y")
    lines = report.text([("web1", across), ("web1", one), ("web2", one)]).splitlines()
    at = next(place for place, line in enumerate(lines) if line.startswith("app   release"))
    assert lines[at : at + 2] == [
        "app   release                  version  hosts  health     drift",
        "blog  20261201T100000-7635763  v5         2/3  ok on 2/3  web3 [1]",
    ]
    assert "web2" in lines
    assert lines[-1] == "[1] blog: web3 does not answer: its release is not known"


def test_a_host_that_is_held_out_is_named_with_the_balancers_that_do() -> None:
    said = [
        {"__balancer": "lb1", "held": [{"app": "blog", "host": "web3"}, {"app": "shop", "host": "web1"}]},
        {"__balancer": "lb2", "held": [{"app": "blog", "host": "web3"}]},
        {"__balancer": "lb3", "msg": "unreachable"},
    ]
    lines = shown(*said, web1=live("v5"), web2=live("v5"), web3=live("v5"))
    assert lines[1] == "blog  20261201T100000-7635763  v5         3/3  ok      web3 [1]"
    text = " ".join(lines)
    assert "web3 gets no requests: lb1, lb2 hold it out until a deploy has brought it up to date" in text
    assert "web1 gets" not in text
