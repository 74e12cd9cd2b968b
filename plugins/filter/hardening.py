"""Filters of role hardening; what they do is in module_utils/hardening_settings.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..module_utils import hardening_settings


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "firewall_rules": hardening_settings.rules,
            "hardening_problems": hardening_settings.problems,
            "outdated_services": hardening_settings.outdated_services,
        }
