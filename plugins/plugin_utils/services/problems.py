"""Problems of the fleet's services with an inventory whose apps are valid each by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..schema.faults import Unresolved
from ..schema.fields.data import uses_postgresql
from ..schema.problems.found import Problem
from . import databases, derived

#: Each connection is a process of PostgreSQL. Beyond it a server needs settings that somebody has thought about.
MOST_CONNECTIONS = 500

Variables = Mapping[str, Any]


def problems(hosts: Mapping[str, Variables], servers: Mapping[str, Variables]) -> list[Problem]:
    """Of *hosts* with apps and *servers* in group `databases`, each with its variables, templates resolved."""
    wanting = {
        name: apps
        for name, host in hosts.items()
        if (
            apps := [
                app
                for app in databases.with_services(host.get("python_apps") or ())
                if uses_postgresql(app) or app["redis"]
            ]
        )
    }
    if len(servers) > 1:
        reason = f"it has {len(servers)} hosts, and the apps' databases are on one"
        return [Problem(tuple(servers), "group databases", reason, "keep one of them in the group")]
    if not wanting:
        return []
    if not servers:
        alone = [name for name, apps in wanting.items() if any(app["redis"] for app in apps)]
        # Each has a Redis of its own, and need not have the secret of the others.
        secrets = [problem for name in alone for problem in _of_secret([name], hosts)]
        return [*_on_several_hosts(wanting), *secrets, *_too_many(wanting, hosts)]
    (server,) = servers
    remote = [name for name in wanting if name != server]
    together = {server: [app for apps in wanting.values() for app in apps]}
    return [*_of_connections(remote, hosts, server, servers[server]), *_too_many(together, servers)]


def _on_several_hosts(wanting: Mapping[str, Sequence[Variables]]) -> Iterator[Problem]:
    places: dict[str, list[str]] = defaultdict(list)
    users: dict[str, list[str]] = defaultdict(list)
    for host, apps in wanting.items():
        for app in apps:
            # A Redis is not shared by name.
            database = databases.database_of(app) if uses_postgresql(app) else f"Redis of {app['name']}"
            if host not in places[database]:
                places[database].append(host)
            if app["name"] not in users[database]:
                users[database].append(app["name"])
    for database, hosts in places.items():
        if len(hosts) > 1:
            first, *others = users[database]
            which = (
                f"{first} runs"
                if not others
                else f"{' and '.join((first, *others))} share {database} and run"
            )
            reason = (
                f"{which} on {len(hosts)} hosts, and each would have a database or Redis of its own for it"
            )
            fix = "name the host that is to have the databases in the inventory:\ndatabases:\n  hosts:\n    db1.example.com:"
            yield Problem(tuple(hosts), f"python_apps ({first}).database", reason, fix)


def _of_connections(
    remote: Sequence[str], hosts: Mapping[str, Variables], server: str, of_server: Variables
) -> Iterator[Problem]:
    """What connections from *remote* hosts to *server* need."""
    if not remote:
        return
    unknown = [name for name in remote if not databases.address(hosts[name])]
    if not databases.address(of_server):
        unknown = [server, *unknown]
    if unknown:
        reason = (
            "the databases of their apps are on another host, and the address of these hosts is not known"
        )
        yield Problem(
            tuple(unknown), "host_address", reason, "host_address: 10.0.0.5    # of the host, in host_vars"
        )
    yield from _of_secret([server, *remote], {**hosts, server: of_server})


def _of_secret(names: Sequence[str], hosts: Mapping[str, Variables]) -> Iterator[Problem]:
    """What is wrong with the secret of the hosts *names*, which have to agree with the first of them."""
    for name in names:
        secret = hosts[name].get("vault_services_secret")
        if isinstance(secret, Unresolved):
            # Without the vault's password, as for playbooks/check.yml. Whatever needs the value says so.
            return
        if not isinstance(secret, str) or len(secret) < derived.SHORTEST:
            reason = (
                "passwords and certificates of services are derived from it, and it is missing or shorter than "
                f"{derived.SHORTEST} characters"
            )
            fix = "vault_services_secret: …    # for all hosts, in a vaulted file; openssl rand -hex 32 prints one"
            yield Problem((name,), "vault_services_secret", reason, fix)
            return
        if secret != hosts[names[0]].get("vault_services_secret"):
            reason = f"{names[0]} has another one, so that no password of {name} would be right there"
            yield Problem((name,), "vault_services_secret", reason, "set it once, in group_vars/all")


def _too_many(
    wanting: Mapping[str, Sequence[Variables]], hosts: Mapping[str, Variables]
) -> Iterator[Problem]:
    for host, apps in wanting.items():
        given = (hosts[host].get("postgresql_settings") or {}).get("max_connections")
        limit = int(str(given)) if str(given or "").isdecimal() else MOST_CONNECTIONS
        counted = sorted(
            ((databases.connections_of(app), app["name"]) for app in apps if uses_postgresql(app)),
            reverse=True,
        )
        wanted = sum(count for count, _ in counted) + databases.RESERVE
        if wanted > limit:
            most = ", ".join(f"{name} {count}" for count, name in counted[:3])
            reason = (
                f"the apps may open {wanted} connections in a deploy (processes times threads and workers, of the old and "
                f"the new release, on each host; {databases.RESERVE} for administration), and PostgreSQL would allow "
                f"{limit}. The most: {most}"
            )
            fix = (
                f"postgresql_settings: {{max_connections: {-(-wanted // 100) * 100}}}    # where the host has the memory; "
                "or smaller web.processes and web.threads, or PgBouncer: docs/databases.md"
            )
            yield Problem((host,), "postgresql_settings.max_connections", reason, fix)
