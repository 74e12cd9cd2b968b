"""Three app hosts behind two balancers, and a controller that reaches all of them by SSH."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import testinfra
from fleets import ADDRESS, STATUS_PASSWORD, Fleet, app, hash_of


@pytest.fixture(scope="session")
def fleet(directory: Path) -> Fleet:
    """As site.yml makes it: app blog on all hosts, app wiki on two of them."""
    inventory = os.environ["MOLECULE_INVENTORY_FILE"]
    names = ["fleet-app1", "fleet-app2", "fleet-app3", "fleet-lb1", "fleet-lb2"]
    hosts = {
        name: testinfra.get_hosts([f"ansible://{name}"], ansible_inventory=inventory)[0] for name in names
    }
    wiki = app("wiki", web={"processes": 1, "threads": 2})
    made = Fleet(
        hosts["fleet-app1"],
        directory / "inventory",
        directory,
        apps=[app("blog", tls={"provider": "self_signed", "redirect": False})],
        variables={
            "keepalived_address": f"{ADDRESS}/24",
            "keepalived_interface": "eth0",
            "haproxy_status_users": {"ops": hash_of(STATUS_PASSWORD)},
        },
        hosts=hosts,
        key=directory / "key",
        own={"fleet-app2": [wiki], "fleet-app3": [wiki]},
    )
    made.install()
    made.good("site.yml")
    made.until_servers({"fleet-app1": "UP", "fleet-app2": "UP", "fleet-app3": "UP"})
    return made
