"""Filters over `python_apps`; thin, the logic is in module_utils."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils import apps, quoting
from ..plugin_utils.plain import plain


def _named(name: str, function: Callable[[Any], Any], wanted: str) -> Callable[[Any], Any]:
    def run(value: Any) -> Any:
        try:
            # Each look at a value through Ansible's lazy containers costs as much as all the rest.
            return function(plain(value))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise AnsibleFilterError(f"emperor.stack.{name} needs {wanted}") from error

    return run


_CHECKED = "the list of apps as emperor.stack.check_apps lets it pass, which names what is wrong with it"

_FILTERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "complete_apps": (apps.complete_all, _CHECKED),
    "sites": (apps.sites, _CHECKED),
    "site_problems": (apps.site_problems, "sites as emperor.stack.sites derives them"),
    "tls_apps": (apps.tls_apps, _CHECKED),
    "app_users": (apps.app_users, _CHECKED),
    "app_slices": (apps.app_slices, _CHECKED),
    "absent_apps": (apps.absent_apps, _CHECKED),
    "renamed_apps": (apps.renamed_apps, _CHECKED),
    "longest_request_timeout": (apps.longest_request_timeout, _CHECKED),
    "app_timeouts": (apps.timeouts, "a number of seconds"),
    "ini_value": (quoting.ini_value, "a text that a uWSGI ini can hold"),
}


class FilterModule:
    def filters(self) -> dict[str, Callable[[Any], Any]]:
        return {name: _named(name, function, wanted) for name, (function, wanted) in _FILTERS.items()}
