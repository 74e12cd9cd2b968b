"""Which databases a host has, who may connect to them from where, and by which URL an app reaches its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from ..schema.apps import complete_all
from ..schema.fields.data import uses_postgresql
from . import derived

App = Mapping[str, Any]

PORT = 5432
SOCKETS = "/run/postgresql"
#: The certificate of the fleet's own authority, on each host with an app that connects to another host.
AUTHORITY_FILE = "/etc/emperor-stack/services-ca.pem"

#: Processes of an app without `web.processes`: one for each core, and the controller does not know how many there are.
UNKNOWN_PROCESSES = 8
#: Connections of a process of an ASGI app, which has no threads to count: as many as asyncpg's pool has by default.
POOL = 10
#: For migrations, hooks, a shell.
SPARE = 3
#: For administrators, backups, and PostgreSQL itself.
RESERVE = 20
#: Nobody has to restart PostgreSQL for a further app or two.
LEAST = 100


def address(host: Mapping[str, Any]) -> str:
    """Where the fleet reaches *host*, by its variables; empty where that is not known."""
    for name in ("host_address", "ansible_host"):
        try:
            return str(ip_address(str(host.get(name) or "")))
        except ValueError:
            continue
    return ""


def with_services(apps: Iterable[App]) -> list[dict[str, Any]]:
    """Those of the declared *apps* that use a database or Redis, completed: most hosts have many that do not."""
    return complete_all(app for app in apps if app.get("database") or app.get("redis"))


def database_of(app: App) -> str:
    return str(app["database"]["name"] or app["name"])


def connections_of(app: App) -> int:
    """Connections that the processes of *app* on one host may have: twice in a deploy, by the old release and the new."""
    of_process = POOL if app["asgi"] else app["web"]["threads"]
    web = (app["web"]["processes"] or UNKNOWN_PROCESSES) * of_process
    workers = sum(worker["count"] for worker in app["workers"].values())
    return 2 * (web + workers) + len(app["schedule"]) + SPARE


@dataclass(frozen=True)
class HostOfApps:
    """A host with apps, by its variables."""

    name: str
    apps: Any
    address: str


def databases(server: str, hosts: Iterable[HostOfApps], secret: str = "") -> list[dict[str, Any]]:
    """What role postgresql of *server* takes as `postgresql_apps`: one for each app, sorted by name.

    *hosts* are those whose apps have their databases there. Those of other hosts get a password by *secret*.
    """
    found: dict[str, dict[str, Any]] = {}
    for host in hosts:
        for app in with_services(host.apps):
            if not uses_postgresql(app):
                continue
            one = found.setdefault(
                app["name"],
                {
                    "name": app["name"],
                    "database": database_of(app),
                    "extensions": sorted(app["database"]["extensions"]),
                    "connections": 0,
                    "local": False,
                    "addresses": [],
                    "password": "",
                },
            )
            one["connections"] += connections_of(app)
            if host.name == server:
                one["local"] = True
            else:
                one["addresses"] = sorted({*one["addresses"], host.address})
                one["password"] = derived.verifier(secret, "postgresql", app["name"])
    return [found[name] for name in sorted(found)]


def connection_count(apps: Iterable[Mapping[str, Any]]) -> int:
    """`max_connections` for *apps*, entries of `databases`: in steps, since each change of it is a restart."""
    wanted = sum(app["connections"] for app in apps) + RESERVE
    return max(LEAST, -(-wanted // 100) * 100)


def url(app: App, host: str, server: str, server_address: str, secret: str) -> str:
    """`DATABASE_URL` of the completed *app* on *host*, whose databases are on *server*."""
    name, database = app["name"], database_of(app)
    if server == host:
        # The kernel tells the server who connects; nobody has a password.
        return f"postgresql:///{database}?host={SOCKETS}"
    place = f"[{server_address}]" if ":" in server_address else server_address
    password = derived.password(secret, "postgresql", name)
    verified = f"sslmode=verify-full&sslrootcert={AUTHORITY_FILE}"
    return f"postgresql://{name}:{password}@{place}:{PORT}/{database}?{verified}"
