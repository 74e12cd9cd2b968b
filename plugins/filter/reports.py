"""Filters that make reports for `emperor.stack.summary`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..plugin_utils.console.release_report import of_phases
from ..plugin_utils.console.report import of_problems
from ..plugin_utils.console.status_report import of_apps, of_certificates


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "release_report": of_phases,
            "problem_report": of_problems,
            "status_report": of_apps,
            "certificate_report": of_certificates,
        }
