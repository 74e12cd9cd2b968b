"""Which databases go with removed apps."""

from __future__ import annotations

import yaml
from ansible.template import Templar, trust_as_template

from tools.project import ROOT


def test_remove_yml_drops_the_database_of_each_named_app_that_no_host_keeps() -> None:
    play = next(
        play
        for play in yaml.safe_load((ROOT / "playbooks/remove.yml").read_text())
        if play["name"] == "Remove the app's database"
    )
    (task,) = (task for task in play["tasks"] if task.get("vars"))
    variables = {
        **{name: trust_as_template(text) for name, text in play["vars"].items() if isinstance(text, str)},
        "app": "blog, shop,wiki",
        "__services_names": ["wiki"],
    }
    wanted = trust_as_template(task["vars"]["postgresql_absent"])
    assert Templar(loader=None, variables=variables).template(wanted) == ["blog", "shop"]


def test_site_yml_drops_databases_after_the_apps_that_used_them() -> None:
    """An app writes until it is gone, and what it writes after its archive was made would be lost."""
    order: list[str] = []
    for play in yaml.safe_load((ROOT / "playbooks/site.yml").read_text()):
        order.append(play.get("ansible.builtin.import_playbook", ""))
        for part in ("tasks", "post_tasks"):
            roles = [task.get("ansible.builtin.include_role", {}) for task in play.get(part, ())]
            order += [f"{one['name']} remove" for one in roles if "remove" in str(one.get("tasks_from"))]
    first_drop = order.index("postgresql remove")
    assert order.index("databases.yml") < order.index("python_apps remove") < first_drop
    early = yaml.safe_load((ROOT / "playbooks/databases.yml").read_text())
    assert "tasks_from': 'remove'" not in str(early) and order.count("postgresql remove") == 2
