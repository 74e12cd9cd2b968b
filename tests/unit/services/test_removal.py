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
