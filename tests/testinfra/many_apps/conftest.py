"""One small host that fills up: one app, then ten that run all the time, then a hundred that sleep."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from deploying import Profile, Stack
from many_apps.fleet import LIVE, SECRETS, SLEEPING, Filled, memory_of_apps
from testinfra.host import Host


@pytest.fixture(scope="session")
def filled(machine: Host, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    inventory = Path(os.environ["MOLECULE_INVENTORY_FILE"])
    stack = Stack(machine, inventory, tmp_path_factory.mktemp("controller"))
    stack.environment["ANSIBLE_CALLBACKS_ENABLED"] = "emperor.stack.profile"
    filled = Filled(stack)
    for apps in (LIVE[:1], LIVE, LIVE + SLEEPING):
        stack.apps = apps
        stack.secrets = {app["name"]: SECRETS[app["name"]] for app in apps if app["name"] in SECRETS}
        if len(apps) > len(LIVE):
            filled.memory_with_live_ones = memory_of_apps(machine)
        stack.good("site.yml", patience=1500)
        runs = [stack.good("site.yml", measured=True) for _ in range(2)]
        # The first one after a change may still find caches cold.
        best = min(runs, key=lambda run: run.seconds)
        assert "changed=0" in best.output
        filled.no_change_seconds[len(apps)] = best.seconds
        filled.no_change[len(apps)] = Profile.of(best.output)
    return filled
