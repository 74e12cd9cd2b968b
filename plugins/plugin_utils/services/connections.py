"""The variables by which an app reaches its database and its Redis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..schema.fields.data import uses_postgresql
from . import redis
from .databases import url, with_services


def connections(
    apps: Iterable[Mapping[str, Any]],
    host: str,
    server: str,
    server_address: str,
    secret: str,
    secrets: Mapping[str, Mapping[str, str]],
) -> dict[str, dict[str, str]]:
    """What role python_apps takes as `python_apps_connections`: by app, its derived variables of the environment.

    The services of the apps, which run on *host*, are on *server*.
    """
    found: dict[str, dict[str, str]] = {}
    for app in with_services(apps):
        one = found.setdefault(app["name"], {})
        if uses_postgresql(app):
            one["DATABASE_URL"] = url(app, host, server, server_address, secret)
        elif named := app["database"]["url"]:
            one["DATABASE_URL"] = str(secrets.get(app["name"], {}).get(named, ""))
        if app["redis"]:
            one |= redis.variables(app, host, server, server_address, secret)
    return found
