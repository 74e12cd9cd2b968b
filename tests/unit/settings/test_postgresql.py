"""What PostgreSQL is given of a host's memory."""

from __future__ import annotations

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.settings import postgresql

from tools.project import ROOT

APPS = [{"connections": 40}]


@pytest.mark.parametrize(
    ("memory", "after_an_update"), [(963, 961), (1967, 1964), (3914, 3908), (15988, 15970), (64302, 64230)]
)
def test_another_kernel_does_not_restart_it(memory: int, after_an_update: int) -> None:
    """It takes some MiB more or fewer for itself."""
    assert postgresql.settings(APPS, memory, 20) == postgresql.settings(APPS, after_an_update, 20)


@pytest.mark.parametrize(
    ("memory", "taken_for"), [(1967, 2048), (2048, 2048), (2049, 2304), (512, 512), (1, 1)]
)
def test_a_host_counts_with_the_memory_that_it_was_sold_with(memory: int, taken_for: int) -> None:
    assert postgresql.steady(memory) == taken_for


def test_the_configuration_has_no_exact_number_of_it() -> None:
    template = (ROOT / "roles/postgresql/templates/postgresql.conf.j2").read_text()
    assert "postgresql_memory_percent" in template and "postgresql_memory }}" not in template
