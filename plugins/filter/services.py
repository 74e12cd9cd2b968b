"""Filters about the fleet's services: databases. Thin; the logic is in plugin_utils."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ..plugin_utils.controller.native import readable, to_native
from ..plugin_utils.services import authority, databases
from ..plugin_utils.settings import postgresql


def hosts_of(hostvars: Mapping[str, Any], names: Sequence[str]) -> list[databases.HostOfApps]:
    """Only what is needed of each: the variables of a whole fleet are much."""
    return [
        databases.HostOfApps(
            name, readable(hostvars[name].get("python_apps") or []), databases.address(hostvars[name])
        )
        for name in names
    ]


def postgresql_apps(
    hostvars: Mapping[str, Any], host: str, hosts: Sequence[str], secret: str = ""
) -> list[dict[str, Any]]:
    return databases.databases(host, hosts_of(hostvars, hosts), str(secret))


def postgresql_absent(hostvars: Mapping[str, Any], hosts: Sequence[str]) -> list[str]:
    return databases.absent(hosts_of(hostvars, hosts))


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
    return databases.connections(to_native(apps), host, server, address, str(secret), named)


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
            "app_connections": app_connections,
            "service_address": service_address,
            "service_certificate": service_certificate,
            "service_key": service_key,
        }
