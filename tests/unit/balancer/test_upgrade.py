"""When upgrade.yml takes an app for healthy after a reboot, and which host it does not reboot."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.template import Templar, trust_as_template
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.apps import complete_all

from tools.project import ROOT

APP: dict[str, Any] = {
    "name": "blog",
    "domains": ["blog.example.com"],
    "wsgi": "blog:app",
    "source": {"path": "."},
}


TASKS = [
    task
    for play in yaml.safe_load((ROOT / "playbooks/upgrade.yml").read_text())
    for task in play.get("tasks", ())
]


@pytest.mark.parametrize(
    ("health", "status", "healthy"),
    [({}, 302, True), ({}, 404, False), ({"status": [401]}, 401, True), ({"status": [401]}, 200, False)],
)
def test_an_app_answers_with_what_its_deploys_take_for_healthy(
    health: dict[str, Any], status: int, healthy: bool
) -> None:
    """A page of logging in, for example, is a redirect."""
    (app,) = complete_all([{**APP, "health": health}])
    (task,) = yaml.safe_load((ROOT / "playbooks/tasks/answering.yml").read_text())
    asked = task["ansible.builtin.uri"]
    wanted = trust_as_template(asked.get("status_code", "{{ [200] }}"))
    assert (status in Templar(loader=None, variables={"__app": app}).template(wanted)) is healthy


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, True),
        ({"force": "true"}, False),
        ({"inventory_hostname": "app2"}, False),
        ({"__fleet_hosts": ["app1"]}, False),
        ({"groups": {"app_hosts": ["app1", "app2"]}}, False),
    ],
)
def test_a_host_with_the_databases_of_others_is_not_rebooted_by_the_way(
    changes: dict[str, Any], refused: bool
) -> None:
    upgrades = (task for task in TASKS if task.get("ansible.builtin.include_tasks") == "tasks/upgrade.yml")
    reason = next(upgrades).get("vars", {}).get("__reboot_refused", "")
    variables = {
        "inventory_hostname": "app1",
        "groups": {"databases": ["app1"]},
        "__fleet_hosts": ["app1", "app2"],
        **changes,
    }
    assert bool(Templar(loader=None, variables=variables).template(trust_as_template(reason))) is refused
