"""The sandbox of units; thin, the lines are in module_utils."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.systemd import sandbox as lines_of
from ..plugin_utils.controller.native import to_native


def sandbox(kind: str) -> str:
    known = to_native(kind)
    if known not in lines_of.KINDS:
        raise AnsibleFilterError(
            f"emperor.stack.sandbox needs one of {', '.join(lines_of.KINDS)}, not {known!r}"
        )
    return lines_of.text(known)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"sandbox": sandbox}
