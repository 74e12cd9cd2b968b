"""Native Python values, without Ansible's wrappers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible._internal._templating._jinja_common import UndecryptableVaultError

#: Stands for a value that is encrypted and that no given vault password decrypts.
UNREADABLE = "(encrypted: no given vault password decrypts this)"


def to_native(value: Any) -> Any:
    """*value* as native Python types. Ansible's tags and lazy containers slow down every access."""
    if isinstance(value, Mapping):
        return {to_native(key): to_native(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_native(item) for item in value]
    if isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind) and type(value) is not kind:
            return kind(value)
    return value


def readable(value: Any) -> Any:
    """*value* as native Python types, with UNREADABLE in the place of each text that cannot be decrypted.

    For what does not use such texts. A release must not be made of the result: see `unreadable`.
    """
    try:
        return to_native(value)
    except Exception as error:
        if not is_undecryptable(error):
            raise
    if isinstance(value, Mapping):
        return {to_native(key): _item(value, key) for key in value}
    if isinstance(value, list | tuple):
        return [_item(value, place) for place in range(len(value))]
    return UNREADABLE


def _item(container: Any, key: Any) -> Any:
    try:
        item = container[key]
    except Exception as error:
        if not is_undecryptable(error):
            raise
        return UNREADABLE
    return readable(item)


def unreadable(value: Any) -> bool:
    """Whether UNREADABLE stands anywhere in *value*, which `readable` returned."""
    if isinstance(value, Mapping):
        return any(map(unreadable, value.values()))
    if isinstance(value, list):
        return any(map(unreadable, value))
    return bool(value == UNREADABLE)


def is_undecryptable(error: BaseException | None) -> bool:
    """Whether *error* comes from a value that no given vault password decrypts."""
    while error is not None:
        if isinstance(error, UndecryptableVaultError):
            return True
        error = error.__cause__ or error.__context__
    return False
