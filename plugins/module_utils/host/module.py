"""What the functions of a module need of the module that they run in, so that another one can ask what they would do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Module(Protocol):
    """The part of an AnsibleModule that is used: its arguments, its mode, commands and warnings."""

    params: dict[str, Any]
    check_mode: bool
    _diff: bool
    _verbosity: int

    @property
    def run_command(self) -> Callable[..., tuple[int, str, str]]: ...

    @property
    def warn(self) -> Callable[[str], None]: ...
