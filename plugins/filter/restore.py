"""Filters of `playbooks/restore.yml`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..plugin_utils.console import restore_report
from ..plugin_utils.services.databases import database_of


def databases_of(apps: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The database of each of the completed *apps* that has one in the fleet, by the name of the app."""
    return {app["name"]: database_of(app) for app in apps if app["database"]["engine"]}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "databases_of": databases_of,
            "restore_problem": restore_report.problem,
            "restore_behind": restore_report.behind,
            "restore_unput": restore_report.unput,
            "restore_report": restore_report.of_restore,
        }
