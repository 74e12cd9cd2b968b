"""What a run asks of the phases, and what each says of an app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .lock import Owner

#: What a phase found or did with an app; `error` where it failed.
Outcome = dict[str, Any]


@dataclass(frozen=True)
class Options:
    owner: Owner = field(default_factory=Owner)
    dead: Sequence[str] = ()
    break_lock: bool = False
    force: bool = False
    to_release: str | None = None
    across_migration: bool = False
    emperor: str | None = None
    keep_releases: int = 5
    keep_warm: int = 600
    uv_environment: Mapping[str, str] = field(default_factory=dict)
    interpreters: Mapping[str, str] = field(default_factory=dict)
    http_port: int = 80
    check_mode: bool = False
