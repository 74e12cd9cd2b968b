"""What is decided for an app over all of its hosts, by the variables of the hosts."""

from __future__ import annotations

from typing import Any

from ansible_collections.emperor.stack.plugins.filter import fleet

APP = {"name": "blog", "fleet": {"canary": {"hosts": 1}}}


def hosts(action: str) -> dict[str, Any]:
    outcome = {"action": action, "live": "r1", "revision": "a" * 40}
    result = {"apps": {"blog": outcome}, "phases": ["plan"], "changed": action != "none"}
    groups = {"app_hosts": ["web1", "web2"], "balancers": ["lb1"]}
    return {
        host: {"python_apps": [APP], "groups": groups, "__python_apps_release": result}
        for host in ("web1", "web2")
    }


def test_a_plan_begins_anew_where_the_process_has_deployed_before() -> None:
    """As in `ansible-playbook site.yml playbooks/deploy.yml`, which are one process with the facts of both."""
    before = {
        "apps": {"blog": ["web1"], "gone": ["web9"]},
        "names": {"blog": "r1"},
        "canaries": {"blog": {"hosts": ["web1"], "seconds": 60, "requests": 1, "errors": "1%"}},
    }
    found = fleet.fleet_verdict(["web1", "web2"], hosts("none"), "plan", before)
    assert (found["apps"], found["names"], found["canaries"]) == ({"blog": ["web1", "web2"]}, {}, {})
    found = fleet.fleet_verdict(["web1", "web2"], hosts("deploy"), "plan", before)
    assert found["called_off"] == {} and found["canaries"]["blog"]["hosts"] == ["web1"]


def test_a_version_that_yaml_takes_for_a_number_is_found() -> None:
    """As in the extra variables of AWX: `version: 1.4`."""
    known = [
        {"release": name, "revision": name, "version": version, "earlier": True, "crosses": False}
        for name, version in (("r2", "1.5"), ("r1", "1.4"))
    ]
    found = hosts("none")
    for one in found.values():
        one["__python_apps_release"] = {"apps": {"blog": {"choices": known}}, "phases": ["choose"]}
    said = fleet.fleet_verdict(["web1", "web2"], found, "choose", wanted={"version": 1.4})
    assert said["targets"] == {"blog": {"web1": "r1", "web2": "r1"}}
