"""Kernel parameters as settings name them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: Parts between dots, or between slashes where the name of an interface has a dot (sysctl(8)).
_NAME = re.compile(r"[a-z0-9_*-]+(?:\.[a-z0-9_*-]+)+|[a-z0-9_*-]+(?:/[a-z0-9_.*-]+)+")


def problems(variable: str, parameters: Mapping[str, Any], several: bool) -> list[str]:
    """Those of *parameters* that are none with a number, or with *several*; *variable* has them."""
    value_of = r"[0-9]+(?: [0-9]+)*" if several else r"[0-9]+"
    return [
        f"{variable}: {name}: {value} is not a kernel parameter with {'numbers' if several else 'a number'}. "
        "Write net.core.somaxconn: 4096"
        for name, value in parameters.items()
        if not _NAME.fullmatch(str(name)) or not re.fullmatch(value_of, str(value))
    ]
