"""Fixtures for what runs against real hosts: Molecule's verifier, or pytest with --ansible-inventory."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

# Molecule starts pytest elsewhere, and pytest imports tests by file name: show them the module beside this.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from appsite import APPS, App, Site, front


@pytest.fixture(scope="session")
def machine() -> Host:
    """The scenario's only host, for fixtures that outlive a test."""
    name = os.environ["MOLECULE_SCENARIO_NAME"].replace("_", "-")
    hosts: list[Host] = testinfra.get_hosts(
        [f"ansible://{name}-*"], ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"]
    )
    return hosts[0]


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The controller's own directory: keys, repositories, the inventory of the tests."""
    return tmp_path_factory.mktemp("controller")


@pytest.fixture(params=APPS, ids=lambda app: app.name)
def app(request: pytest.FixtureRequest) -> App:
    chosen: App = request.param
    return chosen


@pytest.fixture
def site(host: Host, app: App) -> Site:
    """A fresh browser at one of the apps."""
    return Site(host, app)


@pytest.fixture
def sites(host: Host) -> list[Site]:
    """A fresh browser at each of the apps."""
    return [Site(host, app) for app in APPS]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Show what the services said when a test fails."""
    report = yield
    host = getattr(item, "funcargs", {}).get("host")
    if report.failed and host is not None:
        server = front(host)
        units = f"-u {server.unit} -u 'emperor@*' -u 'app_*'"
        said = host.run(f"journalctl --namespace=+apps -a --no-pager -o short-precise -n 60 {units}")
        errors = host.run("tail -n 20 %s", server.error_log)
        report.sections.append((f"Journal of {server.unit} and the emperors", said.stdout or said.stderr))
        report.sections.append((f"Error log of {server.unit}", errors.stdout))
    return report
