"""Filters that make reports for `emperor.stack.summary`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..module_utils.console.release_report import of_phases, of_problems
from ..module_utils.console.status_report import of_apps, of_certificates
from ..plugin_utils.console import release_plan


def plan_of_hosts(
    hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], check: bool = False
) -> list[str]:
    """What is about to be deployed on *hosts*, as lines of a table; with *check*, what would be."""
    results = {host: hostvars[host].get("__python_apps_release") or {} for host in hosts}
    return release_plan.lines(results, check)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "release_plan": plan_of_hosts,
            "release_report": of_phases,
            "problem_report": of_problems,
            "status_report": of_apps,
            "certificate_report": of_certificates,
        }
