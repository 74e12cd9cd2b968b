"""Kinds of values, from which a schema is put together as data.

One declaration serves three ends: checking (`faults`), filling in defaults (`complete`) and the reference
(`described`).
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any, Protocol

from ...module_utils.values.texts import Rule, Wrong
from .faults import Fault, Unresolved, closest, given, listed, member, shown, unresolved, yaml_text


class Kind(Protocol):
    def faults(self, value: Any, where: str, key: str) -> Iterator[Fault]:
        """What is wrong with *value*. *key* is what stands before it in YAML, such as `name: ` or `- `."""

    def complete(self, value: Any) -> Any: ...

    def described(self) -> str: ...


@dataclass(frozen=True)
class Text:
    rule: Rule
    says: str
    example: str
    #: The value is shown in messages. Not for what may hold a password.
    show: bool = True

    def faults(self, value: Any, where: str, key: str) -> Iterator[Fault]:
        example = f"{key}{yaml_text(self.example)}"
        if isinstance(value, Unresolved):
            yield unresolved(value, where)
        elif not isinstance(value, str):
            fix = example
            if isinstance(value, bool):
                fix = f'{key}"{str(value).lower()}"'
            elif isinstance(value, int | float | datetime.date):
                fix = f'{key}"{value}"'
            if fix != example and self.rule(fix.removeprefix(key).strip('"')):
                fix = example
            advice = ": quote it" if fix != example else ""
            yield Fault(where, f"this is {given(value)}, but must be a text{advice}", fix)
        elif wrong := self.rule(value):
            better = f"{key}{yaml_text(wrong.better)}" if wrong.better else example
            yield Fault(where, self._reason(value, wrong), wrong.fix or better)

    def _reason(self, value: str, wrong: Wrong) -> str:
        return f"{shown(value)}: {wrong.reason}" if self.show and value else wrong.reason

    def complete(self, value: Any) -> Any:
        return value

    def described(self) -> str:
        return self.says


@dataclass(frozen=True)
class Path(Text):
    """A path inside the code, kept without a slash at its end."""

    def complete(self, value: Any) -> Any:
        return value.removesuffix("/") if isinstance(value, str) else value


@dataclass(frozen=True)
class Number:
    least: int
    most: int
    unit: str = ""

    def faults(self, value: Any, where: str, key: str) -> Iterator[Fault]:
        limits = f"a whole number from {self.least} to {self.most}"
        if isinstance(value, Unresolved):
            yield unresolved(value, where)
        elif isinstance(value, str) and value.strip().isdecimal() and self.least <= int(value) <= self.most:
            yield Fault(
                where,
                f"this is the text {shown(value)}, but must be {limits}: write it without quotes "
                "(or end the template with | int)",
                f"{key}{int(value)}",
            )
        elif isinstance(value, bool) or not isinstance(value, int):
            yield Fault(
                where, f"this is {given(value)}, but must be {limits}", f"{key}{self._nearest(value)}"
            )
        elif not self.least <= value <= self.most:
            yield Fault(
                where, f"{value} is out of range: it must be {limits}", f"{key}{self._nearest(value)}"
            )

    def _nearest(self, value: Any) -> int:
        if isinstance(value, int | float) and not isinstance(value, bool) and not isnan(value):
            return int(min(max(value, self.least), self.most))
        return self.least

    def complete(self, value: Any) -> Any:
        return value

    def described(self) -> str:
        return f"whole number, {self.least} to {self.most}{self.unit and f' {self.unit}'}"


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    def faults(self, value: Any, where: str, key: str) -> Iterator[Fault]:
        known = " or ".join(self.words)
        if isinstance(value, Unresolved):
            yield unresolved(value, where)
        elif not isinstance(value, str):
            yield Fault(where, f"this is {given(value)}, but must be {known}", f"{key}{self.words[0]}")
        elif value not in self.words:
            near = closest(value, self.words) or self.words[0]
            yield Fault(where, f"{shown(value)} is invalid: it must be {known}", f"{key}{near}")

    def complete(self, value: Any) -> Any:
        return value

    def described(self) -> str:
        return " or ".join(f"`{word}`" for word in self.words)


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def faults(self, value: Any, where: str, key: str) -> Iterator[Fault]:
        if isinstance(value, Unresolved):
            yield unresolved(value, where)
        elif not isinstance(value, bool):
            meant = "false" if str(value).lower() in ("false", "no", "off", "0") else "true"
            reason = f"this is {given(value)}, but must be true or false, without quotes"
            yield Fault(where, reason, f"{key}{meant}")

    def complete(self, value: Any) -> Any:
        return value

    def described(self) -> str:
        return "true or false"


@dataclass(frozen=True)
class ListOf:
    item: Kind
    least: int = 0
    unique: bool = False

    def faults(self, value: Any, where: str, key: str) -> Iterator[Fault]:
        if isinstance(value, Unresolved):
            yield unresolved(value, where)
            return
        if not isinstance(value, list | tuple):
            one = value if isinstance(value, str | int) and not isinstance(value, bool) else None
            good = one is not None and not next(self.item.faults(one, "", ""), None)
            private = isinstance(self.item, Text) and not self.item.show
            text = (yaml_text(one) if isinstance(one, str) else str(one)) if good and not private else "…"
            yield Fault(where, f"this is {given(value)}, but must be a list", f"{key}[{text}]")
            return
        if len(value) < self.least:
            example = getattr(self.item, "example", "…")
            yield Fault(where, "the list is empty, but needs at least one entry", f"{key}[{example}]")
        seen: dict[str, int] = {}
        for index, item in enumerate(value):
            yield from self.item.faults(item, f"{where}[{index}]", "- ")
            if self.unique and isinstance(item, str | int):
                first = seen.setdefault(repr(item), index)
                if first != index:
                    yield Fault(
                        f"{where}[{index}]",
                        f"the same as entry [{first}] of this list",
                        "remove one of the two",
                    )

    def complete(self, value: Any) -> Any:
        return [self.item.complete(item) for item in value or ()]

    def described(self) -> str:
        return f"list of: {self.item.described()}"


@dataclass(frozen=True)
class OneOrMore:
    """A text, or a list of such texts."""

    item: Text

    def faults(self, value: Any, where: str, key: str) -> Iterator[Fault]:
        if isinstance(value, list | tuple):
            yield from ListOf(self.item, 1, unique=True).faults(value, where, key)
        else:
            yield from self.item.faults(value, where, key)

    def complete(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [self.item.complete(one) for one in value]
        return self.item.complete(value)

    def described(self) -> str:
        return f"{self.item.described()}, or a list of them"


@dataclass(frozen=True)
class MapOf:
    """A map with free keys, to texts or to sections."""

    key: Text
    value: Kind
    #: Whether null is a value, and not a slip.
    nullable: bool = False

    def faults(self, value: Any, where: str, key: str) -> Iterator[Fault]:
        if isinstance(value, Unresolved):
            yield unresolved(value, where)
            return
        if not isinstance(value, Mapping):
            yield Fault(
                where,
                f"this is {given(value)}, but must be a map",
                f"{key.rstrip()}\n  {yaml_text(self.key.example)}: {self._example()}",
            )
            return
        for name, item in value.items():
            if not isinstance(name, str):
                yield Fault(
                    where, f"one of its keys is {given(name)}, but must be a text: quote it", f'"{name}": …'
                )
                continue
            place = f"{where}{member(name)}"
            if wrong := self.key.rule(name):
                better = f"{yaml_text(wrong.better)}: …" if wrong.better else ""
                fix = wrong.fix or better or f"remove it, or choose a name such as {self.key.example}"
                yield Fault(place, f"{shown(name)}: {wrong.reason}", fix)
            if item is not None or not self.nullable:
                yield from self.value.faults(item, place, f"{yaml_text(name)}: ")

    def _example(self) -> str:
        if isinstance(self.value, Section):
            return f"{{{', '.join(field.example for field in self.value.shortest())}}}"
        value = self.value.item if isinstance(self.value, OneOrMore) else self.value
        return yaml_text(value.example) if isinstance(value, Text) else "…"

    def complete(self, value: Any) -> Any:
        return {name: self.value.complete(item) for name, item in (value or {}).items()}

    def described(self) -> str:
        null = " or null" if self.nullable else ""
        return f"map of {self.key.described()} to {self.value.described()}{null}"


@dataclass(frozen=True)
class Field:
    name: str
    kind: Kind
    description: str
    #: YAML of one sensible use, pasted into messages and the reference.
    example: str
    required: bool = False
    default: Any = None

    def complete(self, value: Any) -> Any:
        """*value*, or the default where it is None."""
        if value is None:
            value = self.default
        if value is None and isinstance(self.kind, Text | Number | Choice | Flag):
            return None
        return self.kind.complete(value)

    def nothing_chosen(self) -> Any:
        """What `chosen` makes of the default."""
        return chosen(self.kind, self.complete(None))


@dataclass(frozen=True)
class Section:
    """A map with known keys."""

    fields: tuple[Field, ...]
    exactly_one_of: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        return [field.name for field in self.fields]

    def faults(self, value: Any, where: str, key: str) -> Iterator[Fault]:
        if isinstance(value, Unresolved):
            yield unresolved(value, where)
            return
        if not isinstance(value, Mapping):
            lines = "\n".join(f"  {line}" for field in self.shortest() for line in field.example.splitlines())
            yield Fault(where, f"this is {given(value)}, but must be a map", f"{key.rstrip()}\n{lines}")
            return
        for name in value:
            if name not in self.names:
                yield self._unknown(name, where)
        if self.exactly_one_of:
            yield from self._choice(value, where)
        for field in self.fields:
            if value.get(field.name) is None:
                if field.required:
                    yield Fault(where, f"`{field.name}` is missing", field.example)
            else:
                yield from field.kind.faults(value[field.name], f"{where}.{field.name}", f"{field.name}: ")

    def shortest(self) -> list[Field]:
        """The fields of the smallest section that is complete."""
        wanted = [field for field in self.fields if field.required or field.name in self.exactly_one_of[:1]]
        return wanted or [self.fields[0]]

    def _choice(self, value: Mapping[str, Any], where: str) -> Iterator[Fault]:
        found = [name for name in self.exactly_one_of if value.get(name) is not None]
        if len(found) == 1:
            return
        names = listed(found or self.exactly_one_of)
        examples = "\n# or\n".join(
            field.example for field in self.fields if field.name in (found or self.exactly_one_of)
        )
        if found:
            which = "both" if len(found) == 2 else "all"
            yield Fault(
                where, f"{names} exclude each other, but {which} are given", f"keep one of them:\n{examples}"
            )
        else:
            none = "neither" if len(self.exactly_one_of) == 2 else "none"
            yield Fault(where, f"exactly one of {names} is required, but {none} is given", examples)

    def _unknown(self, name: object, where: str) -> Fault:
        if not isinstance(name, str):
            return Fault(
                where,
                f"one of its keys is {given(name)}, which is not a known key",
                f"known: {self._known()}",
            )
        reason = f"the key {shown(name)} is unknown"
        if elsewhere := self._deeper(name):
            return Fault(where, reason, f"did you mean {elsewhere}?")
        if near := closest(name, self.names):
            return Fault(where, reason, f"did you mean {near}?")
        return Fault(where, reason, f"known: {self._known()}")

    def _known(self) -> str:
        return ", ".join(self.names)

    def _deeper(self, name: str) -> str:
        """Where a key belongs that was written one level too high."""
        for field in self.fields:
            if isinstance(field.kind, Section) and name in field.kind.names:
                return f"{field.name}.{name}"
        return ""

    def complete(self, value: Any) -> dict[str, Any]:
        declared = value or {}
        return {field.name: field.complete(declared.get(field.name)) for field in self.fields}

    def described(self) -> str:
        return "map"


def chosen(kind: Kind, value: Any) -> Any:
    """What of *value*, which *kind* has completed, somebody chose: without what equals a default, at every depth.

    Entries of lists and of maps with free keys stay, whatever is left of them.
    """
    match kind:
        case Section():
            found = {field.name: chosen(field.kind, value[field.name]) for field in kind.fields}
            without = {field.name: field.nothing_chosen() for field in kind.fields}
            return {name: one for name, one in found.items() if one != without[name]}
        case MapOf():
            return {name: chosen(kind.value, one) for name, one in value.items()}
        case ListOf():
            return [chosen(kind.item, one) for one in value]
    return value
