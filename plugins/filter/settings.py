"""Invalid settings of roles: texts with place, reason and fix. Thin; the rules are in plugin_utils."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..plugin_utils.controller.native import readable
from ..plugin_utils.settings import base, haproxy, hardening, keepalived, tls


def _of(problems: Callable[..., list[str]]) -> Callable[..., list[str]]:
    @functools.wraps(problems)
    def run(*values: Any, **named: Any) -> list[str]:
        return problems(*map(readable, values), **readable(named))

    return run


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "base_problems": _of(base.problems),
            "haproxy_problems": _of(haproxy.problems),
            "hardening_problems": _of(hardening.problems),
            "keepalived_problems": _of(keepalived.problems),
            "tls_problems": _of(tls.problems),
        }
