"""Filters about the fleet's services: databases, Redis, backups. Thin; the logic is in plugin_utils."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ..plugin_utils.controller.native import readable, to_native
from ..plugin_utils.services import authority, backups, databases, redis
from ..plugin_utils.services.connections import connections
from ..plugin_utils.settings import postgresql


def hosts_of(hostvars: Mapping[str, Any], names: Sequence[str]) -> list[databases.HostOfApps]:
    """The apps of hosts that use a service. To convert all apps of a large host takes longer than everything else here."""
    return [
        databases.HostOfApps(
            name,
            [readable(app) for app in declared(hostvars, name) if app.get("database") or app.get("redis")],
            databases.address(hostvars[name]),
        )
        for name in names
    ]


def declared(hostvars: Mapping[str, Any], name: str) -> Sequence[Any]:
    return hostvars[name].get("python_apps") or []


def postgresql_apps(
    hostvars: Mapping[str, Any], host: str, hosts: Sequence[str], secret: str = ""
) -> list[dict[str, Any]]:
    return databases.databases(host, hosts_of(hostvars, hosts), str(secret))


def postgresql_absent(hostvars: Mapping[str, Any], hosts: Sequence[str]) -> list[str]:
    apps = [
        (str(app["name"]), app.get("state") == "absent") for name in hosts for app in declared(hostvars, name)
    ]
    return sorted({name for name, gone in apps if gone} - {name for name, gone in apps if not gone})


def redis_apps(
    hostvars: Mapping[str, Any], host: str, hosts: Sequence[str], secret: str = ""
) -> list[dict[str, Any]]:
    return redis.apps(host, hosts_of(hostvars, hosts), str(secret))


def redis_admin_password(secret: str, host: str) -> str:
    return redis.admin_password(str(secret), host)


def backup_users(hosts: Sequence[str], secret: str) -> list[dict[str, str]]:
    return backups.users([str(host) for host in hosts], str(secret))


def backup_url(host: str, address: str, secret: str) -> str:
    return backups.url(str(host), address, str(secret))


def backup_problems(
    servers: Sequence[str], hosts: Sequence[str], hostvars: Mapping[str, Any], secret: str
) -> list[str]:
    return backups.problems(servers, {name: hostvars[name] for name in {*servers, *hosts}}, str(secret))


def app_connections(
    apps: Sequence[Mapping[str, Any]],
    host: str,
    server: str,
    address: str = "",
    secret: str = "",
    secrets: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    known = secrets or {}
    # Other apps may have vault passwords of their own.
    wanting = [
        app
        for app in to_native(apps)
        if isinstance(app.get("database"), Mapping) and app["database"].get("url")
    ]
    named = {app["name"]: to_native(known[app["name"]]) for app in wanting if app["name"] in known}
    return connections(to_native(apps), host, server, address, str(secret), named)


def service_address(variables: Mapping[str, Any]) -> str:
    return databases.address(variables)


def service_certificate(secret: str, host: str = "", address: str = "") -> str:
    if not secret:
        return ""
    try:
        return (
            authority.server_certificate(str(secret), host, address)
            if host
            else authority.certificate(str(secret))
        )
    except ValueError as error:
        raise AnsibleFilterError(f"emperor.stack.service_certificate: {error}") from error


def service_key(secret: str, host: str) -> str:
    return authority.server_key(str(secret), host) if secret else ""


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "postgresql_apps": postgresql_apps,
            "postgresql_absent": postgresql_absent,
            "postgresql_settings": postgresql.settings,
            "redis_apps": redis_apps,
            "redis_admin_password": redis_admin_password,
            "backup_users": backup_users,
            "backup_problems": backup_problems,
            "backup_url": backup_url,
            "app_connections": app_connections,
            "service_address": service_address,
            "service_certificate": service_certificate,
            "service_key": service_key,
        }
