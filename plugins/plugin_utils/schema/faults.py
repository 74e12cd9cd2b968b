"""What is wrong with a value, in words for whoever wrote it."""

from __future__ import annotations

import datetime
import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...module_utils.values.texts import unprintable


@dataclass(frozen=True)
class Unresolved:
    """Stands in the data where a template could not be resolved, so that it is reported at its place."""

    reason: str


@dataclass(frozen=True)
class Hidden(Unresolved):
    """Stands in the data where a value must not reach a message, in any form."""

    reason: str = "the value contains a secret, so neither the value nor its problem is shown"


@dataclass(frozen=True)
class Encrypted(Unresolved):
    """Stands in the data where a value is encrypted and no given vault password decrypts it."""

    reason: str = "the value is encrypted, and no given vault password decrypts it"


@dataclass(frozen=True)
class NotNeeded(Encrypted):
    """The same, where the run does not use the value."""

    reason: str = "the value is encrypted, and this run does not use it"


@dataclass(frozen=True)
class TemplateLike(Unresolved):
    """Stands in the place of a secret that Ansible would take for a template which nobody can have meant."""

    reason: str = "it contains {% or {#, so Ansible would treat it as a template and change it"


@dataclass(frozen=True)
class Fault:
    where: str
    reason: str
    fix: str


def unresolved(value: Unresolved, where: str) -> Fault:
    if isinstance(value, Hidden):
        return Fault(
            where, value.reason, "name the secret in `secrets`: the app then gets it in its environment"
        )
    if isinstance(value, Encrypted):
        return Fault(
            where,
            value.reason,
            "add --vault-password-file FILE, --vault-id NAME@FILE or --ask-vault-pass; "
            "check.yml, status.yml, rollback.yml and restart.yml run without it",
        )
    if isinstance(value, TemplateLike):
        return Fault(
            where, value.reason, "put !unsafe before the value to keep it unchanged: KEY: !unsafe '…'"
        )
    return Fault(
        where,
        f"the template cannot be resolved: {value.reason}",
        "define it in the inventory (facts of hosts are not known here), or give a default: "
        "\"{{ it | default('…') }}\"; put !unsafe before a text that is not a template",
    )


def yaml_text(text: str) -> str:
    """*text* as one YAML scalar that is read back as the same text."""
    plain = re.fullmatch(r"\.?[A-Za-z/][A-Za-z0-9/._@+=-]*(?:[ :][A-Za-z0-9/._@+=-]+)*", text)
    if plain and text.lower() not in _NOT_TEXT:
        return text
    return json.dumps(text, ensure_ascii=False)


_NOT_TEXT = ("true", "false", "yes", "no", "on", "off", "y", "n", "null", ".inf", ".nan")


def given(value: Any) -> str:
    """What YAML made of a value, without showing text, which may be a secret."""
    match value:
        case None:
            return "nothing"
        case bool():
            return (
                f"the boolean {str(value).lower()} (YAML also reads unquoted yes, no, on and off as booleans)"
            )
        case int():
            return f"the number {value}"
        case float():
            return f"the number {value} (YAML reads an unquoted 1.10 as 1.1)"
        case datetime.date():
            return f"the date {value} (YAML reads an unquoted 2026-11-22 as a date)"
        case str():
            return "a text"
        case Mapping():
            return "a map"
        case list() | tuple():
            return "a list"
    return f"a {type(value).__name__}"


def shown(text: str) -> str:
    short = text if len(text) <= 80 else f"{text[:77]}…"
    return json.dumps(short, ensure_ascii=bool(unprintable(short)))


def closest(word: str, known: Iterable[str]) -> str:
    small = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), list(small), n=1, cutoff=0.6)
    return small[found[0]] if found else ""


def listed(names: Sequence[str]) -> str:
    """`a`, `b` and `c`."""
    quoted = [f"`{name}`" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[:-1] else quoted)


def member(name: str) -> str:
    """How a place names a key: `.env`, or `["/static/"]` where a bare word would mislead."""
    return f".{name}" if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else f"[{shown(name)}]"
