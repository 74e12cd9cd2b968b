"""Which apps use the Redis of a host, and by which URL."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from . import derived
from .databases import AUTHORITY_FILE, HostOfApps, with_services

App = Mapping[str, Any]

PORT, TLS_PORT = 6379, 6380


def admin_password(secret: str, host: str) -> str:
    """Of the role's own user on *host*."""
    return derived.password(secret, "redis administration", host)


def password_hash(password: str) -> str:
    """What Redis stores of *password*, which is long and random: nothing could be tried."""
    return hashlib.sha256(password.encode()).hexdigest()


def apps(server: str, hosts: Iterable[HostOfApps], secret: str) -> list[dict[str, Any]]:
    """What role redis of *server* takes as `redis_apps`: one for each app of *hosts* that uses it, sorted by name."""
    found: dict[str, dict[str, Any]] = {}
    for host in hosts:
        for app in with_services(host.apps):
            if not app["redis"]:
                continue
            digest = password_hash(derived.password(secret, "redis", app["name"]))
            one = found.setdefault(
                app["name"], {"name": app["name"], "password_hash": digest, "addresses": []}
            )
            if host.name != server:
                one["addresses"] = sorted({*one["addresses"], host.address})
    return [found[name] for name in sorted(found)]


def variables(app: App, host: str, server: str, server_address: str, secret: str) -> dict[str, str]:
    """The environment of the completed *app* on *host*, whose Redis is on *server*."""
    name = app["name"]
    login = f"{name}:{derived.password(secret, 'redis', name)}"
    place = f"[{server_address}]" if ":" in server_address else server_address
    verified = f"ssl_cert_reqs=required&ssl_ca_certs={AUTHORITY_FILE}"
    url = (
        f"redis://{login}@127.0.0.1:{PORT}/0"
        if server == host
        else f"rediss://{login}@{place}:{TLS_PORT}/0?{verified}"
    )
    return {"REDIS_URL": url, "REDIS_PREFIX": f"{name}:"}
