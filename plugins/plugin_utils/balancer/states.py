"""What balancers say of a host, from the results of module balancer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...module_utils.balancer.running import up

#: By app and host, what one balancer says.
Said = Mapping[str, Mapping[str, Mapping[str, Any]]]


def said(results: Iterable[Mapping[str, Any]]) -> list[tuple[str, Said]]:
    """The balancers that answered, with what they said. *results* are those of a loop over balancers."""
    return [
        (str(one.get("__balancer", "")), one["servers"])
        for one in results
        if one.get("process") and not one.get("failed") and not one.get("unreachable")
    ]


def only_on(balancers: Iterable[Said], host: str, apps: Sequence[str]) -> list[str]:
    """Those of the *apps* that, at some balancer, no other host takes requests for, while *host* does."""
    return sorted(
        {
            app
            for servers in balancers
            for app in apps
            if host in servers.get(app, {})
            and up(servers[app][host])
            and not any(up(server) for name, server in servers[app].items() if name != host)
        }
    )


def busy(balancers: Iterable[Said], host: str) -> list[str]:
    """The apps for which *host* still gets new requests, or has some under way."""
    return sorted(
        {
            app
            for servers in balancers
            for app, hosts in servers.items()
            if host in hosts and (hosts[host]["scur"] or up(hosts[host]))
        }
    )


def out(balancers: Iterable[Said], host: str, apps: Sequence[str]) -> list[str]:
    """Those of the *apps* for which *host* gets no requests, though nobody holds it out."""
    return sorted(
        {
            app
            for servers in balancers
            for app in apps
            if not (server := servers.get(app, {}).get(host))
            or not (up(server) or str(server["status"]).startswith("MAINT"))
        }
    )
