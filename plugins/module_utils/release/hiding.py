"""All that no message of a run may show: the secrets of its apps, and the passwords of package indexes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..host.credentials import all_secrets
from ..host.masking import hide


def secrets_in(spec: Mapping[str, Any]) -> Iterator[str]:
    """What is secret in the specification of an app."""
    yield from (spec.get("secrets") or {}).values()
    if spec.get("key"):
        yield spec["key"]
    yield from all_secrets((spec.get("source") or {}).values())


def hide_all(specs: Sequence[Mapping[str, Any]], uv_environment: Mapping[str, Any]) -> None:
    """Mask from now on what is secret in *specs* and in what uv is told.

    Not by Ansible's own masking: it would change names, revisions and everything else that happens to hold a short secret.
    """
    for spec in specs:
        hide(secrets_in(spec))
    hide(all_secrets(uv_environment.values()))
    hide(str(value) for name, value in uv_environment.items() if name.endswith("_PASSWORD"))
