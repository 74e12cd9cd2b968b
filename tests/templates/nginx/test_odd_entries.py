"""Whatever the check of an entry lets through, role nginx takes too. Scenario `front` asks nginx itself."""

from __future__ import annotations

from ansible_collections.emperor.stack.plugins.plugin_utils.schema import apps
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.problems.found import Controller, HostApps
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.problems.inventory import problems
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.rules import domains

from tests.testinfra.odd_entries import entries


def test_what_the_check_lets_through_the_role_takes() -> None:
    controller = Controller("/bundle", lambda path: True, lambda path: True)
    assert [str(one) for one in problems({"web1": HostApps(entries())}, controller)] == []
    assert apps.site_problems(apps.sites(entries())) == []


def test_the_domains_are_accepted() -> None:
    for entry in entries():
        assert [domains.domain(one) for one in entry["domains"]] == [None] * len(entry["domains"])
