"""Hosts as images bring them."""

from __future__ import annotations

from deploying import Stack
from testinfra.host import Host


def test_a_host_with_empty_package_lists_gets_its_packages(machine: Host, stack: Stack) -> None:
    """As in an image that was built a moment ago: the directory is fresh, and nothing is in it."""
    machine.check_output("apt-get purge --yes --quiet logrotate")
    machine.check_output(
        "find /var/lib/apt/lists /var/lib/apt/periodic -type f -delete; touch /var/lib/apt/lists"
    )
    assert machine.run("apt-get install --yes --no-download logrotate").rc != 0
    stack.good("site.yml")
    assert machine.package("logrotate").is_installed
