"""Names of variables that were renamed. The old names still work; this module compares them with the new ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .problems.found import Problem

#: Old name → new name, of `-e` on the command line. Both names are fit for daily use, so the old one costs no warning.
OPTIONS = {"again": "force"}

#: Old name → new name, of roles. The default of the new name is the old name's value.
ROLE_VARIABLES = {
    "base_asked_paths": "base_probed_paths",
    "base_further_packages": "base_extra_packages",
    "python_apps_again": "python_apps_force",
    "python_apps_memory_of_one": "python_apps_memory_per_app",
    "tls_again": "tls_force",
    "tls_left": "tls_cleanup",
}

#: All names of this module, old and new.
NAMES = frozenset(name for pair in (*OPTIONS.items(), *ROLE_VARIABLES.items()) for name in pair)


def contradictions(fleet: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    """A problem for each pair of names that some hosts give different values. *fleet* maps hosts to variables."""
    return [
        Problem(
            hosts,
            f"{new} and {old}",
            f"{old} is the old name of {new}, and the two have different values",
            f"remove {old}, and keep {new}",
        )
        for old, new in {**OPTIONS, **ROLE_VARIABLES}.items()
        if (hosts := tuple(host for host, variables in fleet.items() if _contradict(variables, old, new)))
    ]


def warnings(fleet: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One line for each old name of a role's variable that some hosts still have."""
    return [
        f"{old} is now called {new}. The old name still works; rename it for {', '.join(hosts)}."
        for old, new in ROLE_VARIABLES.items()
        if (hosts := [host for host, variables in fleet.items() if old in variables])
    ]


def _contradict(variables: Mapping[str, Any], old: str, new: str) -> bool:
    return old in variables and new in variables and _text(variables[old]) != _text(variables[new])


def _text(value: Any) -> str:
    """*value*, so that `true` from a file of YAML and `true` from the command line are the same."""
    return str(value).lower()
