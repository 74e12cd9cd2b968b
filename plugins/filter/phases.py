"""The filter by which tasks read the table of phases.

It has a file of its own, since the table brings the code of all phases along, which no other filter needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.release import phases


def exchanges(
    kind: str, alone: bool, after: Mapping[str, Any] | None = None, canary: bool = False
) -> list[dict[str, Any]]:
    """The exchanges of a deploy or a rollback with a host that is *alone*, or not: see `phases.exchanges`.

    *after* is the result of phases that come before: only what is left is given, and nothing where they changed nothing.
    *canary* says that some hosts of an app go first.
    """
    if after is not None and not after.get("changed"):
        return []
    try:
        return phases.exchanges(kind, alone, (after or {}).get("phases", ()), canary)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"exchanges": exchanges}
