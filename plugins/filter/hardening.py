"""Filters of role hardening; what they do is in module_utils/firewall_rules.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..module_utils import firewall_rules


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "firewall_rules": firewall_rules.rules,
            "hardening_problems": firewall_rules.problems,
            "outdated_services": firewall_rules.outdated_services,
        }
