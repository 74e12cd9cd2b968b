"""A host with a real sshd, and a controller that reaches it through that."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import testinfra
from deploying import HERE, Stack
from outside import Machine


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("controller")


@pytest.fixture(scope="session")
def machine(directory: Path) -> Machine:
    inventory = os.environ["MOLECULE_INVENTORY_FILE"]
    host = testinfra.get_hosts(["ansible://hardened-debian13"], ansible_inventory=inventory)[0]
    made = Machine(host, directory)
    made.install()
    return made


def app(name: str, **settings: Any) -> dict[str, Any]:
    return {
        "name": name,
        "domains": [f"{name}.example.com"],
        "source": {"path": str(HERE / "apps" / "bare")},
        "wsgi": "app:application",
        "health": {"path": "/healthz", "timeout": 30},
        "web": {"processes": 1, "threads": 2},
        **settings,
    }


@pytest.fixture(scope="session")
def stack(machine: Machine, directory: Path) -> Stack:
    """A controller that comes in by SSH as root; the tests set its variables."""
    # Updates and lynis find their own ways; a test of fail2ban needs few requests.
    variables: dict[str, Any] = {"hardening_firewall_trial": 40, "hardening_fail2ban_scan": 5}
    apps = [
        app("one", workers={"jobs": {"command": "sleep infinity"}}),
        app("two", schedule={"nightly": {"command": "true", "at": "03:00"}}, tls={"provider": "self_signed"}),
    ]
    return Stack(machine.host, machine.write_inventory(), directory, apps, {}, variables)
