"""The web server of a host, checked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..schema import apps as completed
from ..schema.faults import Fault, Unresolved, unresolved

#: Variables of a host that `faults` reads.
NAMES = ("front_server",)

SERVERS = ("nginx", "apache")


def faults(values: Mapping[str, Any], apps: Sequence[Mapping[str, Any]]) -> Iterator[Fault]:
    """What is wrong with the web server in *values* in front of *apps*, which have no problem of their own."""
    server = values.get("front_server", "nginx")
    if isinstance(server, Unresolved):
        yield unresolved(server, "front_server")
    elif server not in SERVERS:
        reason = f"{json.dumps(server, default=str)} is not a supported web server"
        yield Fault("front_server", reason, f"set it to {' or '.join(SERVERS)}")
    elif server == "apache":
        if with_tls := ", ".join(app["name"] for app in completed.tls_apps(apps)):
            reason = f"Apache serves plain HTTP only, and these apps have tls: {with_tls}"
            fix = "front_server: nginx, or tls: {provider: none} and TLS in a proxy in front of this host"
            yield Fault("front_server", reason, fix)
        if nginx_only := ", ".join(completed.without_apache(apps)):
            reason = f"only nginx supports these keys of apps: {nginx_only}"
            fix = (
                "front_server: nginx, or remove these keys; put directives in Apache's language on the host into "
                "/etc/apache2/emperor-stack/local/<app>/*.conf"
            )
            yield Fault("front_server", reason, fix)
