"""Which parts of a set have to be held back so that the rest can go live, and what they were when they last ran.

A part is what items share by their key `part`, such as all files of one site. Pure: the program that judges a tree is
asked through a function.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .items import FileSetError, Item

#: Says what is wrong with a set of items, or nothing.
Check = Callable[[list[Item]], str]

#: The last working files by part; files that belong to no part are under the empty name.
Good = Mapping[str, Sequence[Item]]


@dataclass(frozen=True)
class LastGood:
    """The last working files of a service. Without a digest only those of parts are known."""

    digest: str = ""
    parts: Good = field(default_factory=dict)
    #: How it was asked, which may change with the set, as a port does.
    running: str = ""


#: Part → why it is held back.
Held = Mapping[str, str]

#: A line of what all parts share that begins with this holds for each part which stays though it is no longer wanted:
#: the rest of the line, with the part's name for `{part}`. By itself it is a comment.
KEPT = b"# @FILE_SET_KEPT@ "


class SharedFault(FileSetError):
    """The fault is in no single part of the set."""


def loaded(item: Item) -> bool:
    """Whether a service reads the item: all but directories and the logs that it fills."""
    return item.kind in ("file", "link")


def by_part(items: Iterable[Item]) -> dict[str, list[Item]]:
    found: dict[str, list[Item]] = {}
    for item in items:
        if loaded(item):
            found.setdefault(item.part, []).append(item)
    return found


def effective(wanted: Sequence[Item], good: Good, held: Iterable[str]) -> list[Item]:
    """*wanted*, where each part in *held* is what it was when it last ran: nothing, if it never did."""
    held = set(held)
    kept = sorted(held - by_part(wanted).keys())
    items = [_with_kept(item, kept) for item in wanted if item.part not in held or not loaded(item)]
    items += [item for part in sorted(held) for item in good.get(part, ())]
    return sorted(items, key=lambda item: (item.kind != "directory", item.path))


def _with_kept(item: Item, kept: Sequence[str]) -> Item:
    if item.part or not kept or KEPT not in item.content:
        return item
    lines = []
    for line in item.content.splitlines(keepends=True):
        indent, mark, rest = line.partition(KEPT)
        if mark and not indent.strip():
            lines += [indent + rest.replace(b"{part}", part.encode()) for part in kept]
        else:
            lines.append(line)
    return replace(item, content=b"".join(lines))


def changed_parts(wanted: Iterable[Item], good: Good) -> list[str]:
    def key(items: Iterable[Item]) -> list[Item]:
        return sorted(items, key=lambda item: item.path)

    return sorted(
        part for part, items in by_part(wanted).items() if part and key(items) != key(good.get(part, ()))
    )


def blamed(said: str, wanted: Iterable[Item], parts: Iterable[str]) -> str:
    """The part of *parts* with a file that *said* names, or that listens where *said* says that it could not."""
    candidates = [item for item in wanted if item.part in set(parts) and loaded(item)]
    for item in candidates:
        if re.search(rf"{re.escape(item.path)}(?![A-Za-z0-9._/-])", said):
            return item.part
    for port in re.findall(r"bind\(\) to \S*?:?([^\s:]+) failed", said):
        for item in candidates:
            if re.search(rf"(?m)^[^#]*\blisten\s[^;]*(?<![0-9]){re.escape(port)}\b".encode(), item.content):
                return item.part
    return ""


def choose(wanted: Sequence[Item], good: Good, check: Check) -> dict[str, str]:
    """The fewest parts to hold back, each with what was said of it.

    First by what the program itself names, and where that leads to nobody, one after the other. Raises `SharedFault` when
    the rest is bad without any of them.
    """
    found: dict[str, str] = {}
    changed = changed_parts(wanted, good)
    while said := check(effective(wanted, good, found)):
        left = [part for part in changed if part not in found]
        part = blamed(said, wanted, left)
        if not part:
            found = _one_after_the_other(wanted, good, check, found, left, said)
            break
        found[part] = said
    return {**found, **kept(wanted, good, check, found)}


def kept(wanted: Sequence[Item], good: Good, check: Check, held: Held) -> dict[str, str]:
    """The parts that stay though they are no longer wanted, as one in *held* that never ran may be to take their place.

    One that does not go with the rest is given up.
    """
    new = sorted(part for part in held if not good.get(part))
    found: dict[str, str] = {}
    if not new:
        return found
    reason = f"it is no longer wanted, but {', '.join(new)}, which may replace it, is left out"
    for part in sorted(good.keys() - by_part(wanted).keys() - {""}):
        paths = {item.path for item in effective(wanted, good, [*held, *found])}
        if paths.isdisjoint(item.path for item in good[part]):
            further = {**found, part: reason}
            if not check(effective(wanted, good, [*held, *further])):
                found = further
    return found


def _one_after_the_other(
    wanted: Sequence[Item], good: Good, check: Check, held: Held, left: Sequence[str], said: str
) -> dict[str, str]:
    found = {**held, **dict.fromkeys(left, said)}
    if not left or check(effective(wanted, good, found)):
        raise SharedFault(said)
    for part in left:
        without = {name: reason for name, reason in found.items() if name != part}
        if reason := check(effective(wanted, good, without)):
            found[part] = reason
        else:
            found = without
    return found


def describe(held: Held, good: Good) -> list[str]:
    """One text for each part that was held back."""
    return [
        f"{part}: {'it keeps its last working files' if good.get(part) else 'it is left out, because it never ran'}: "
        f"{reason}"
        for part, reason in sorted(held.items())
    ]


def dump(good: LastGood) -> str:
    def row(item: Item) -> dict[str, Any]:
        content = item.content.decode(errors="surrogateescape")
        known = {key: value for key, value in asdict(item).items() if key not in ("part", "sha256")}
        return {**known, "content": content}

    rows = {part: [row(item) for item in items] for part, items in good.parts.items()}
    data = {"version": 1, "digest": good.digest, "running": good.running, "parts": rows}
    return json.dumps(data, sort_keys=True) + "\n"


def load(text: str) -> LastGood:
    """Raises ValueError, KeyError or TypeError on anything else."""
    data = json.loads(text)
    if not isinstance(data, dict) or data.get("version") != 1:
        raise ValueError("this is not the last working configuration, in version 1")
    found: dict[str, list[Item]] = {}
    for part, rows in data["parts"].items():
        for row in rows:
            content = row["content"].encode(errors="surrogateescape")
            found.setdefault(part, []).append(Item(**{**row, "content": content, "part": part}))
    return LastGood(data["digest"], found, data["running"])


def remembered(items: Iterable[Item], tree: str | None) -> dict[str, list[Item]]:
    """What to keep of a set that runs: its parts, and what else it has in *tree*."""
    prefix = f"{tree or ''}/"
    found = {
        part: [item for item in its if part or item.path.startswith(prefix)]
        for part, its in by_part(items).items()
    }
    return {part: sorted(its, key=lambda item: item.path) for part, its in found.items() if its}
