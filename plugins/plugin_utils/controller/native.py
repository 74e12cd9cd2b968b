"""Native Python values, without Ansible's wrappers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def to_native(value: Any) -> Any:
    """*value* as native Python types. Ansible's tags and lazy containers slow down every access."""
    if isinstance(value, Mapping):
        return {to_native(key): to_native(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_native(item) for item in value]
    if isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind) and type(value) is not kind:
            return kind(value)
    return value
