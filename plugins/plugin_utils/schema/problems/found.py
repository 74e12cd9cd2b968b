"""What the check finds, and what it is told: a fleet's variables, the controller's files."""

from __future__ import annotations

import os.path
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..faults import Fault

APPS = "python_apps"
SECRETS = "vault_python_apps_secrets"


@dataclass(frozen=True)
class HostApps:
    """What one host's variables say, templates resolved."""

    apps: Any = ()
    secrets: Any = field(default_factory=dict)
    #: Names of all other variables of the host, in which a misspelt `python_apps` is looked for.
    variables: frozenset[str] = frozenset()
    #: What the connection goes to, to notice one machine under two names. Empty: not known.
    machine: str = ""


@dataclass(frozen=True)
class Problem:
    hosts: tuple[str, ...]
    where: str
    reason: str
    fix: str

    @property
    def place(self) -> str:
        more = len(self.hosts) - 3
        names = ", ".join(self.hosts[:3]) + (f" and {more} more" if more > 0 else "")
        return f"{'host' if len(self.hosts) == 1 else 'hosts'} {names}: {self.where}"

    def __str__(self) -> str:
        head, *more = self.fix.splitlines() or [""]
        if not more:
            return f"{self.place}\n  reason: {self.reason}\n  fix:    {head}"
        lines = "\n".join(f"    {line}" for line in (head, *more))
        return f"{self.place}\n  reason: {self.reason}\n  fix:\n{lines}"


@dataclass(frozen=True)
class Controller:
    """The controller's files, as far as the check asks about them."""

    root: str
    is_directory: Callable[[str], bool] = os.path.isdir
    is_file: Callable[[str], bool] = os.path.isfile

    def at(self, path: str) -> str:
        return os.path.normpath(os.path.join(self.root, path))


def grouped(found: Iterable[tuple[str, Fault]]) -> list[Problem]:
    """A problem for each fault, with all hosts that have it, in the order in which they were *found*."""
    hosts: dict[Fault, dict[str, None]] = defaultdict(dict)
    for host, fault in found:
        hosts[fault][host] = None
    return [Problem(tuple(names), fault.where, fault.reason, fault.fix) for fault, names in hosts.items()]
