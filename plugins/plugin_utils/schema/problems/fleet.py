"""Problems between the hosts of an inventory."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from ..faults import Fault, shown
from ..fields.app import APP, PER_HOST
from ..rules import domains
from . import traffic
from .entries import good_items, name_of, present
from .found import HostApps, Problem

# the whole inventory


def shared_machines(fleet: Mapping[str, HostApps]) -> Iterator[Problem]:
    hosts = defaultdict(list)
    for host, declared in fleet.items():
        if declared.machine:
            hosts[declared.machine].append(host)
    for machine, names in hosts.items():
        if len(names) > 1:
            reason = f"they are one machine ({machine}), so each would remove the other's apps"
            yield Problem(
                tuple(names), "ansible_host", reason, "keep one of them, with all apps in its python_apps"
            )


def name_clashes(fleet: Mapping[str, HostApps]) -> Iterator[Problem]:
    first: dict[str, tuple[str, str, Mapping[str, Any]]] = {}
    clashes: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for host, declared in fleet.items():
        for where, app in present(declared.apps):
            name = name_of(app)
            if not name:
                continue
            other_host, _, other = first.setdefault(name, (host, where, app))
            if host != other_host and (different := _different(app, other)):
                clashes[where, other_host, ", ".join(different)].append(host)
    may_differ = " and ".join(PER_HOST)
    for (where, other_host, names), hosts in clashes.items():
        reason = f"host {other_host} has a different app with this name; the two differ in: {names}"
        fix = f"make the two equal (only {may_differ} may differ between hosts), or rename one of them"
        yield Problem(tuple(hosts), where, reason, fix)


def default_site_clashes(fleet: Mapping[str, HostApps]) -> Iterator[Problem]:
    """Hosts of which several apps want the requests that no app has."""
    for host, declared in fleet.items():
        wanting = [where for where, app in present(declared.apps) if app.get("default_site") is True]
        for where in wanting[1:]:
            reason = f"{wanting[0]} is the default site of this host already"
            yield Problem((host,), f"{where}.default_site", reason, "remove it from one of the two")


def default_sites_of_balancers(fleet: Mapping[str, HostApps]) -> Iterator[Problem]:
    """The same of different hosts, which have their visitors from the same balancers."""
    first: tuple[str, str, str] | None = None
    for host, declared in fleet.items():
        for where, app in present(declared.apps):
            if app.get("default_site") is not True:
                continue
            first = first or (name_of(app) or where, host, where)
            if host != first[1] and name_of(app) != first[0]:
                reason = f"{first[2]} on host {first[1]} is the default site of the balancers already"
                yield Problem((host,), f"{where}.default_site", reason, "remove it from one of the two")


def _different(app: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    if app == other:
        return []
    names = [*APP.names, *sorted(str(name) for name in {*app, *other} if name not in APP.names)]
    return [name for name in names if name not in PER_HOST and app.get(name) != other.get(name)]


def domain_clashes(fleet: Mapping[str, HostApps]) -> Iterator[Problem]:
    """Two apps at one place, and apps that share a domain and cannot."""
    first: dict[tuple[str, str], tuple[str, str, str]] = {}
    sharing: dict[str, dict[str, tuple[str, str, Mapping[str, Any]]]] = defaultdict(dict)
    clashes: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for host, declared in fleet.items():
        for where, app in present(declared.apps):
            path = traffic.path_of(app)
            for index, domain in good_items(app.get("domains"), domains.domain):
                owner = name_of(app) or where
                place = first.setdefault((domain, path), (owner, host, where))
                sharing[domain].setdefault(owner, (host, where, app))
                if place[0] != owner:
                    at = place[2] if place[1] == host else f"{place[2]} on host {place[1]}"
                    at += f" at {path}" if path != "/" else ""
                    clashes[f"{where}.domains[{index}]", domain, owner, at].append(host)
    for (where, domain, owner, at), hosts in clashes.items():
        yield Problem(
            tuple(hosts),
            where,
            f"{shown(domain)} already leads to {at}",
            f"remove it from one of the two apps, or give {owner} a domain of its own",
        )
    yield from _sharing_problems(fleet, sharing)


def _sharing_problems(
    fleet: Mapping[str, HostApps],
    sharing: Mapping[str, Mapping[str, tuple[str, str, Mapping[str, Any]]]],
) -> Iterator[Problem]:
    hosts = defaultdict(set)
    for host, declared in fleet.items():
        for where, app in present(declared.apps):
            hosts[name_of(app) or where].add(host)
    seen: set[tuple[str, Fault]] = set()
    for owners in sharing.values():
        for (name, (_, where, app)), (other_name, others) in itertools.combinations(owners.items(), 2):
            other_host, other_where, other = others
            if traffic.path_of(app) == traffic.path_of(other):
                continue
            found = list(traffic.sharing_faults(other, other_where, app, where))
            if hosts[name] != hosts[other_name]:
                found.append(traffic.hosts_fault(other_where, where))
            for fault in found:
                if (other_host, fault) not in seen:
                    seen.add((other_host, fault))
                    yield Problem((other_host,), fault.where, fault.reason, fault.fix)
