"""What a module's code needs of the module that it runs in, so that one module can ask what several would do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator


class Module(Protocol):
    """The part of an AnsibleModule that is used: its arguments, its mode, commands and warnings."""

    params: dict[str, Any]
    check_mode: bool
    _diff: bool

    @property
    def run_command(self) -> Callable[..., tuple[int, str, str]]: ...

    @property
    def warn(self) -> Callable[[str], None]: ...


class Question:
    """A module's arguments, to be looked at and not carried out.

    Raises ValueError where *arguments* are not what *spec*, the argument spec of that module, asks for.
    """

    check_mode = True
    _diff = False

    def __init__(
        self,
        spec: Mapping[str, Any],
        arguments: Mapping[str, Any],
        run_command: Callable[..., tuple[int, str, str]],
    ) -> None:
        checked = ArgumentSpecValidator(dict(spec)).validate(dict(arguments))
        if checked.error_messages:
            raise ValueError("; ".join(checked.error_messages))
        self.params: dict[str, Any] = checked.validated_parameters
        self.run_command = run_command
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)
