"""Filters over `python_apps`; thin, the logic is in plugin_utils."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.host import layout
from ..plugin_utils.controller.native import readable, to_native
from ..plugin_utils.front import quoting
from ..plugin_utils.schema import apps


def _named(name: str, function: Callable[..., Any], wanted: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(value: Any, *more: Any, **named: Any) -> Any:
        try:
            # Each look at a value through Ansible's lazy containers costs as much as all the rest.
            return function(readable(value), *map(to_native, more), **to_native(named))
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise AnsibleFilterError(f"emperor.stack.{name} needs {wanted}") from error

    return run


_CHECKED = "a list of apps that emperor.stack.check_apps accepts"

_FILTERS: dict[str, tuple[Callable[..., Any], str]] = {
    "complete_apps": (apps.complete_all, _CHECKED),
    "sites": (apps.sites, _CHECKED),
    "asgi_releases": (apps.asgi_releases, _CHECKED),
    "site_problems": (apps.site_problems, "sites as emperor.stack.sites derives them"),
    "site_users": (apps.site_users, _CHECKED),
    "without_apache": (apps.without_apache, _CHECKED),
    "tls_apps": (apps.tls_apps, _CHECKED),
    "app_users": (apps.app_users, _CHECKED),
    "app_slices": (apps.app_slices, _CHECKED),
    "absent_apps": (apps.absent_apps, _CHECKED),
    "renamed_apps": (apps.renamed_apps, _CHECKED),
    "longest_request_timeout": (apps.longest_request_timeout, _CHECKED),
    "app_timeouts": (apps.timeouts, "a number of seconds"),
    "maintenance_flag": (layout.maintenance, "the name of an app"),
    "nginx_value": (quoting.nginx_value, "a text that an nginx config can hold"),
}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {name: _named(name, function, wanted) for name, (function, wanted) in _FILTERS.items()}
