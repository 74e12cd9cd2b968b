"""What balancers have to know of the apps of a fleet: the hosts of each app, their addresses, the app's domains. Pure.

*hostvars* is a mapping of all hosts' variables, by the names that they have in the inventory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from ...module_utils.balancer import naming
from ..controller.native import readable, to_native
from ..front import traffic
from ..schema.apps import complete_all, hsts
from ..schema.rules.domains import WILDCARD

App = Mapping[str, Any]
Hosts = Mapping[str, Mapping[str, Any]]

#: Seconds that a balancer waits for longer than nginx, whose answer it is to see.
LONGER = 5

#: What HAProxy's configuration can hold as the name of a server.
_SERVER = re.compile(r"[A-Za-z0-9._:-]+")


class NoAddress(ValueError):
    """A host without an address that other hosts of the fleet can use."""


def address(host: str, variables: Mapping[str, Any]) -> str:
    """Where other hosts reach *host*. Raises NoAddress."""
    named = "host_address" in variables
    value = str(variables.get("host_address" if named else "ansible_host") or ("" if named else host))
    try:
        return str(ip_address(value))
    except ValueError:
        reason = (
            f"host_address is {value!r}, which is no IP address"
            if named
            else (
                f"the inventory has no IP address of it (ansible_host is {value!r})"
                if value != host
                else "the inventory has no IP address of it"
            )
        )
        raise NoAddress(
            f"host {host}: host_address\n"
            f"  reason: {reason}, and balancers and hosts know each other by address\n"
            "  fix:    set it for this host, for example host_address: 10.0.0.11"
        ) from None


def addresses(hosts: Iterable[str], hostvars: Hosts) -> list[str]:
    return [address(host, hostvars[host]) for host in hosts]


def port(variables: Mapping[str, Any]) -> int:
    """Where a host's web server listens; `playbooks/vars/front.yml` has the same rule."""
    return int(variables.get("front_http_port", variables.get("nginx_http_port", 80)))


def apps_of(hosts: Iterable[str], hostvars: Hosts) -> list[dict[str, Any]]:
    """Each app of the *hosts* once, as the first host that has it declares it; `hosts` names those that have it."""
    found: dict[str, dict[str, Any]] = {}
    for host in hosts:
        names = _plain_names(host, hostvars)
        if names is not None and found.keys() >= set(names):
            # Most hosts of a fleet have the apps of others: to resolve all templates of theirs takes its time.
            for name in names:
                found[name]["hosts"].append(str(host))
            continue
        for app in readable(hostvars[host].get("python_apps") or ()):
            if app.get("state") != "absent":
                found.setdefault(app["name"], {"app": app, "hosts": []})["hosts"].append(str(host))
    return [found[name] for name in sorted(found)]


def _plain_names(host: str, hostvars: Hosts) -> list[str] | None:
    """The names of the apps of *host*; None where they are not to be had without resolving templates."""
    raw_get = getattr(hostvars, "raw_get", None)
    apps = raw_get(host).get("python_apps") if raw_get else None
    if not isinstance(apps, list | tuple):
        return None
    names = []
    for app in apps:
        words = [app.get("name"), app.get("state") or ""] if isinstance(app, Mapping) else [None]
        if not all(isinstance(word, str) and "{" not in word for word in words):
            return None
        if words[1] != "absent":
            names.append(str(words[0]))
    return names


def declared(hosts: Iterable[str], hostvars: Hosts) -> list[dict[str, Any]]:
    """The apps of the *hosts*, each once, as they are declared."""
    return [one["app"] for one in apps_of(hosts, hostvars)]


def backends(hosts: Sequence[str], hostvars: Hosts) -> list[dict[str, Any]]:
    """What role haproxy takes as `haproxy_backends`: one for each app, with the hosts that have it."""
    found = apps_of(hosts, hostvars)
    on = {one["app"]["name"]: one["hosts"] for one in found}
    # Variables of a host are resolved at each look.
    places = {
        host: (address(host, hostvars[host]), port(to_native_keys(hostvars[host])))
        for host in sorted({host for one in found for host in one["hosts"]})
    }
    made = []
    for first, *others in traffic.shared_sites(complete_all(one["app"] for one in found)):
        for app in (first, *others):
            made.append(
                {
                    **_site(first),
                    "name": app["name"],
                    "backend": naming.backend(app["name"]),
                    "path": app["path"],
                    "ready": f"{traffic.prefix(app)}/lb-ready",
                    "timeout": _timeout(app),
                    "servers": [
                        {
                            "name": host,
                            "address": places[host][0],
                            "port": places[host][1],
                            "hold": naming.variable(app["name"], host),
                        }
                        for host in on[app["name"]]
                    ],
                }
            )
    return sorted(made, key=lambda one: one["name"])


def to_native_keys(variables: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: to_native(variables[name])
        for name in ("front_http_port", "nginx_http_port")
        if name in variables
    }


def _site(first: App) -> dict[str, Any]:
    """What all apps of a site share, which the first of them says."""
    tls = first["tls"]
    secured = tls["provider"] != "none"
    return {
        "domains": first["domains"],
        "default": first["default_site"],
        "tls": first["name"] if secured else "",
        "acme": tls["provider"] == "acme",
        "redirect": secured and tls["redirect"],
        "hsts": hsts(tls["hsts"]) if secured else "",
    }


def _timeout(app: App) -> int:
    """Seconds. nginx's own, and a little more."""
    if app["protocol"] == "uwsgi":
        return int(app["timeouts"]["nginx_read"]) + LONGER
    limits = app["limits"]
    return int(max(limits["connection_idle"], limits["request_timeout"])) + 30 + LONGER


def problems(hosts: Sequence[str], balancers: Sequence[str], hostvars: Hosts) -> list[str]:
    """What is wrong with a fleet that has *balancers*: place, reason and fix of each."""
    found: list[str] = []
    if not balancers:
        return found
    if both := sorted(set(hosts) & set(balancers)):
        found.append(
            f"host {', '.join(both)}: groups\n"
            "  reason: it is in app_hosts and in balancers, and HAProxy and nginx both want its ports 80 and 443\n"
            "  fix:    leave it in one of the two groups; a single host needs no balancer"
        )
    used: dict[str, str] = {}
    for host in dict.fromkeys([*hosts, *balancers]):
        try:
            place = address(host, hostvars[host])
        except NoAddress as error:
            found.append(str(error))
            continue
        if (other := used.setdefault(place, host)) != host:
            found.append(
                f"host {host}: host_address\n"
                f"  reason: {place} is the address of {other} as well\n"
                "  fix:    give each host its own"
            )
        if not _SERVER.fullmatch(host):
            found.append(
                f"host {host}: its name\n"
                "  reason: HAProxy takes only letters, digits, dots, hyphens, colons and underscores in it\n"
                "  fix:    rename the host in the inventory, and keep its old name as ansible_host"
            )
    found += [
        f"host {host}: front_server\n"
        "  reason: balancers ask nginx whether a host is ready, and this host has Apache in front\n"
        "  fix:    front_server: nginx"
        for host in hosts
        if str(hostvars[host].get("front_server", "nginx")) == "apache"
    ]
    found += [
        f"app {app['name']}: domains\n"
        f"  reason: {name} is a wildcard, and balancers send a request on by its whole name\n"
        "  fix:    list each name, or default_site: true for all names that no app has"
        for app in declared(hosts, hostvars)
        for name in app.get("domains") or ()
        if str(name).startswith(WILDCARD)
    ]
    if not any(hostvars[host].get("python_apps") for host in hosts):
        found.append(
            f"group balancers: {', '.join(balancers)}\n"
            "  reason: no host of app_hosts has an app, so a balancer would have nothing to balance\n"
            "  fix:    set python_apps for app_hosts, or empty the group balancers"
        )
    return found
