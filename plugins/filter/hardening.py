"""Filters of role hardening; what they do is in plugin_utils/hardening/settings.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..plugin_utils.hardening import settings


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "firewall_rules": settings.rules,
            "hardening_problems": settings.problems,
            "outdated_services": settings.outdated_services,
        }
