"""What role base is given, checked."""

from __future__ import annotations

import os.path
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from . import parameters


def problems(minimum: Mapping[str, Any], certificates: Iterable[str]) -> list[str]:
    """Invalid *minimum* values of kernel parameters, and *certificates* of one name: place, reason, fix."""
    problems = parameters.problems("base_sysctl_minimum", minimum, several=False)
    names = Counter(os.path.splitext(os.path.basename(path))[0] for path in certificates)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        problems.append(
            f"base_ca_certificates: {', '.join(twice)}: several files have this name, by which the host keeps them. "
            "Give each a name of its own"
        )
    return problems
