"""A host with three small apps, whose nginx is broken in many ways."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import testinfra
from deploying import Stack
from testinfra.host import Host

NAMES = ("one", "three", "two")


def app(name: str, said: str = "first") -> dict[str, Any]:
    """An app with a page of nginx's own, which says *said*."""
    return {
        "name": name,
        "domains": [f"{name}.localhost"],
        "source": {"path": "tests/testinfra/apps/tiny"},
        "wsgi": "app:application",
        "web": {"processes": 1},
        "health": {"answers": 1, "timeout": 20},
        "nginx": {"server": f'location = /said {{\n    return 200 "{said}";\n}}'},
    }


@pytest.fixture(scope="session")
def machine() -> Host:
    inventory = os.environ["MOLECULE_INVENTORY_FILE"]
    return testinfra.get_hosts(["ansible://front-*"], ansible_inventory=inventory)[0]


@pytest.fixture(scope="session")
def installed(machine: Host, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    made = Stack(
        machine,
        Path(os.environ["MOLECULE_INVENTORY_FILE"]),
        tmp_path_factory.mktemp("controller"),
        [app(name) for name in NAMES],
    )
    made.good("site.yml")
    return made


@pytest.fixture
def stack(installed: Stack) -> Stack:
    """All apps as they were installed; what a test changes is put right before the next."""
    installed.apps = [app(name) for name in NAMES]
    installed.variables = {}
    outcome = installed.play("site.yml", "--tags", "nginx")
    assert outcome.code == 0, outcome.output[-4000:]
    return installed


def changed(said: str, **settings: Any) -> list[dict[str, Any]]:
    """The apps with another page; *settings* are those of app `two`, which is the last."""
    apps = [app(name, said) for name in NAMES]
    return [*apps[:-1], {**apps[-1], **settings}]
