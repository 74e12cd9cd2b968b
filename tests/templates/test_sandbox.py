"""What services may not do is written once, and is in the unit of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.emperor.stack.plugins.filter.sandbox import sandbox as sandbox_filter
from ansible_collections.emperor.stack.plugins.module_utils.systemd import app_units, sandbox

ROLES = Path(__file__).resolve().parents[2] / "roles"

#: The kind of each unit, and what its template wants to be told.
UNITS = {
    ("apache", "unit.conf.j2"): ("web server", {}),
    ("nginx", "unit.conf.j2"): ("web server", {}),
    ("hardening", "firewall.service.j2"): ("service", {"unit": "firewall"}),
    ("hardening", "fail2ban.service.j2"): ("service", {}),
    ("tls", "service.j2"): ("service", {}),
    ("backup_server", "service.j2"): ("service", {}),
    ("backup_server", "unit.conf.j2"): ("service", {}),
    ("python_apps", "let_read.service.j2"): ("service", {}),
    ("uwsgi_emperor", "emperor@.service.j2"): ("apps", {"__uwsgi_emperor_server": "/x"}),
}


def test_every_unit_with_a_sandbox_is_one_of_these() -> None:
    """And none of them says a line of it itself, which could then differ."""
    found = set()
    for path in filter(Path.is_file, ROLES.glob("*/templates/**/*")):
        text = path.read_text()
        if "emperor.stack.sandbox" in text:
            found.add((path.relative_to(ROLES).parts[0], path.name))
        shared = set(sandbox.lines("service")) & set(text.splitlines())
        assert not shared, path
    assert found == UNITS.keys()


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_has_its_sandbox(render: Callable[..., str], unit: tuple[str, str]) -> None:
    kind, variables = UNITS[unit]
    lines = render(*unit, **variables).splitlines()
    service = lines[lines.index("[Service]") :]
    if "[Install]" in service:
        service = service[: service.index("[Install]")]
    assert set(sandbox.lines(kind)) <= set(service)
    # What takes away from a filter of system calls comes after what it takes away from.
    filters = [line for line in service if line.startswith("SystemCallFilter=")]
    assert filters[0] == "SystemCallFilter=@system-service"


def test_what_runs_as_an_app_has_all_that_a_service_has() -> None:
    """But for the file systems, which are the app's own memory and not the host's disk."""
    assert set(sandbox.lines("service")) - {"PrivateTmp=true"} <= set(app_units.sandbox("blog"))
    assert set(sandbox.lines("apps")) <= set(app_units.sandbox("blog"))
    assert not [line for line in app_units.sandbox("blog") if line.startswith("#")]


def test_a_kind_that_nobody_knows_is_named() -> None:
    with pytest.raises(AnsibleFilterError, match="needs one of service, web server, apps, not 'x'"):
        sandbox_filter("x")
