"""Filters of role hardening; what they do is in plugin_utils/settings/hardening.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..plugin_utils.settings import hardening


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "firewall_rules": hardening.rules,
            "outdated_services": hardening.outdated_services,
        }
