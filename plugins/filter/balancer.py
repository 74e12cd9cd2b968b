"""Filters about balancers and the hosts behind them; thin, the logic is in plugin_utils/balancer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ..plugin_utils.balancer import backends as fleet
from ..plugin_utils.balancer import states


def host_addresses(hosts: Sequence[str], hostvars: Mapping[str, Any]) -> list[str]:
    """The address of each of *hosts*. Raises AnsibleFilterError for a host without one."""
    try:
        return fleet.addresses(hosts, hostvars)
    except fleet.NoAddress as error:
        raise AnsibleFilterError(str(error)) from error


def balancer_backends(hosts: Sequence[str], hostvars: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What role haproxy takes. Raises AnsibleFilterError for a host without an address."""
    try:
        return fleet.backends(hosts, hostvars)
    except fleet.NoAddress as error:
        raise AnsibleFilterError(str(error)) from error


def fleet_apps(hosts: Sequence[str], hostvars: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The apps of *hosts*, each once."""
    return fleet.declared(hosts, hostvars)


def fleet_problems(hosts: Sequence[str], balancers: Sequence[str], hostvars: Mapping[str, Any]) -> list[str]:
    """What is wrong with a fleet of *hosts* behind *balancers*."""
    return fleet.problems(hosts, balancers, hostvars)


def balancers_said(results: Sequence[Mapping[str, Any]], names: bool = False) -> list[Any]:
    """What the balancers that answered say of all hosts, or their *names*."""
    return [balancer if names else servers for balancer, servers in states.said(results)]


def apps_only_on(balancers: Sequence[Any], host: str, apps: Sequence[str]) -> list[str]:
    """The apps that no other host than *host* takes requests for."""
    return states.only_on(balancers, host, apps)


def busy_on(balancers: Sequence[Any], host: str) -> list[str]:
    """The apps for which *host* has requests under way, or still gets new ones."""
    return states.busy(balancers, host)


def out_on(balancers: Sequence[Any], host: str, apps: Sequence[str]) -> list[str]:
    """The apps for which *host* gets no requests, though nobody holds it out."""
    return states.out(balancers, host, apps)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "host_addresses": host_addresses,
            "balancer_backends": balancer_backends,
            "fleet_apps": fleet_apps,
            "fleet_problems": fleet_problems,
            "balancers_said": balancers_said,
            "apps_only_on": apps_only_on,
            "busy_on": busy_on,
            "out_on": out_on,
        }
