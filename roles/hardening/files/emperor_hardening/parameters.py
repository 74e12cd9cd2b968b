"""Kernel parameters, by the program of role base."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from .commands import HardeningRefused, run

#: Of role base.
PARAMETERS = "/usr/local/lib/emperor-stack/kernel-parameters"


# Kernel parameters


def parameters(action: str, wanted: Mapping[str, Any]) -> dict[str, str]:
    """Files of those that are not as *wanted*, with what they should hold; with action `set`, which the kernel keeps so."""
    if wanted and not os.path.exists(PARAMETERS):
        raise HardeningRefused(
            f"{PARAMETERS} is not there: role base brings it. Run site.yml without tags first"
        )
    words = [f"{name}={value}" for name, value in wanted.items()]
    lines = run(PARAMETERS, action, *words).splitlines() if words else []
    return {path: value for path, value, _ in (line.split("\t") for line in lines)}
