"""The values of many hosts' variables, with their templates resolved, at a cost that follows what differs between hosts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ansible.errors import AnsibleError, AnsibleValueOmittedError
from ansible.template import is_trusted_as_template

from ..controller.bundle import cause
from ..controller.native import is_undecryptable, to_native
from .faults import Encrypted, TemplateLike, Unresolved

#: In the place of a value that depends on the host.
_VARIES = object()

#: What a text needs to be a template for Ansible.
_MARKS = ("{{", "{%", "{#", "#jinja2:")


@dataclass(frozen=True)
class Omitted(Unresolved):
    """What `{{ omit }}` gives: inside of a list or a map, the entry is left out."""

    reason: str = "the template says omit, which means nothing here"


class Templates(Protocol):
    def template(self, variable: Any) -> Any: ...


class Resolver:
    """Resolves values of variables.

    Hosts share the values of a group's variables as the same Python objects. One that has no template in it is read once
    for all hosts, and `resolved` returns the same object for each of them.
    """

    def __init__(self, statements: bool = True) -> None:
        """Without *statements*, a text with a Jinja statement or comment in it is taken for a mistake; see `_is_slip`."""
        self._statements = statements
        #: By id; the value itself is kept, so that no later one gets its id.
        self._known: dict[int, tuple[Any, Any]] = {}

    def resolved(self, templar: Templates, value: Any) -> Any:
        """*value* with its templates resolved by *templar*; where one cannot be, a mark stands in its place."""
        return self._resolved(templar, value, {})

    def _resolved(self, templar: Templates, value: Any, texts: dict[str, Any]) -> Any:
        constant = self._constant(templar, value)
        if constant is not _VARIES:
            return constant
        if isinstance(value, Mapping):
            items = ((to_native(key), self._resolved(templar, item, texts)) for key, item in value.items())
            return {key: item for key, item in items if not isinstance(item, Omitted)}
        if isinstance(value, list | tuple):
            every = (self._resolved(templar, item, texts) for item in value)
            return [item for item in every if not isinstance(item, Omitted)]
        # The same text has one value on a host, and compiling it costs more than all else here.
        if value not in texts:
            texts[value] = _templated(templar, value)
        return texts[value]

    def _constant(self, templar: Templates, value: Any) -> Any:
        """*value*, where no template is in it; else _VARIES."""
        if isinstance(value, str):
            if not any(mark in value for mark in _MARKS) or not is_trusted_as_template(value):
                return to_native(value)
            return _VARIES if self._statements or not _is_slip(value) else TemplateLike()
        if value is None or isinstance(value, bool | int | float):
            return to_native(value)
        known = self._known.get(id(value))
        if known is None:
            known = self._known[id(value)] = (value, self._read(templar, value))
        return known[1]

    def _read(self, templar: Templates, value: Any) -> Any:
        if isinstance(value, Mapping):
            items = {to_native(key): self._constant(templar, item) for key, item in value.items()}
            return _VARIES if any(item is _VARIES for item in items.values()) else items
        if isinstance(value, list | tuple):
            every = [self._constant(templar, item) for item in value]
            return _VARIES if any(item is _VARIES for item in every) else every
        # Such as a date, or a text that is still encrypted.
        return _templated(templar, value)


def _is_slip(text: str) -> bool:
    """Whether *text*, a secret, has a Jinja statement or comment in it, which is there by chance and not on purpose.

    An expression may well be meant: one secret is often made of others.
    """
    return "{%" in text or "{#" in text


def _templated(templar: Templates, value: Any) -> Any:
    try:
        return to_native(templar.template(value))
    except AnsibleValueOmittedError:
        return Omitted()
    except AnsibleError as error:
        return Encrypted() if is_undecryptable(error) else Unresolved(cause(error))
