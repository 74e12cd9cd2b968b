"""What a set of files should become: parsing, comparing and bookkeeping, without touching a disk.

The module `file_set` does the input and output around these functions.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

Kind = Literal["file", "link", "directory", "touch"]
State = Literal["absent", "file", "link", "directory", "other"]

#: Options of an item that the action plugin uses up when it renders. The module accepts and never gets them.
OF_THE_CONTROLLER: Mapping[str, Mapping[str, str]] = {
    "template": {"type": "str"},
    "vars": {"type": "dict"},
    "each": {"type": "list", "elements": "raw"},
    "as": {"type": "str", "default": "item"},
    "source": {"type": "str"},
    "pattern": {"type": "str", "default": "*"},
}

#: In a content it stands for the digest of the whole set, so that a service can be asked which set it loaded.
DIGEST_PLACEHOLDER = "@FILE_SET_DIGEST@"

#: The leading dot keeps the file out of `include *.conf`, the ending out of run-parts, logrotate and sysctl.d.
TEMPORARY = ".{name}.file_set-{role}.dpkg-tmp"

DEFAULT_MODE: Mapping[Kind, int | None] = {"file": 0o644, "directory": 0o755, "touch": 0o640, "link": None}


class FileSetError(Exception):
    """A request that cannot be carried out; the text is for the person who wrote it."""


@dataclass(frozen=True)
class Item:
    """One wanted path."""

    path: str
    kind: Kind
    content: bytes = b""
    target: str = ""
    owner: str | None = None
    group: str | None = None
    mode: int | None = None
    sensitive: bool = False
    #: What it stands or falls with, such as the name of a site. Empty: with everything.
    part: str = ""
    #: Of a file whose content was not sent: the content's fingerprint. Enough to compare it, not to write it.
    sha256: str = ""

    @property
    def fingerprint(self) -> str:
        """What the manifest remembers of the content; attributes are not part of it."""
        return self.sha256 or fingerprint(
            "link" if self.kind == "link" else "file", self.target or self.content
        )


@dataclass(frozen=True)
class Current:
    """What lies at a path now."""

    state: State
    content: bytes = b""
    target: str = ""
    uid: int = -1
    gid: int = -1
    mode: int = -1

    @property
    def fingerprint(self) -> str:
        return fingerprint("link" if self.state == "link" else "file", self.target or self.content)


@dataclass(frozen=True)
class Change:
    """A wanted item that differs, and in what."""

    item: Item
    current: Current
    reasons: tuple[str, ...]

    @property
    def created(self) -> bool:
        return self.current.state == "absent"

    @property
    def replaces(self) -> bool:
        """Whether a new inode is put at the path; else its attributes are set in place."""
        if self.item.kind in ("directory", "touch"):
            return self.created
        return True


def fingerprint(kind: str, content: bytes | str) -> str:
    """The sha256 of a content; a link's is that of its target, told apart from a file with the same text."""
    data = content.encode() if isinstance(content, str) else content
    prefix = b"link:" if kind == "link" else b""
    return hashlib.sha256(prefix + data).hexdigest()


def parse_mode(value: str | None, path: str) -> int | None:
    if value is None or value == "":
        return None
    if not re.fullmatch(r"0?[0-7]{3,4}", value):
        raise FileSetError(
            f"{path}: mode {value!r} is not octal. Quote it and write all digits: mode: '0644'"
        )
    return int(value, 8)


def parse_item(raw: Mapping[str, Any]) -> Item:
    path = raw["path"]
    check_path(path, "path")
    given = [key for key in ("content", "link", "sha256") if raw.get(key) is not None]
    given += [key for key in ("directory", "touch") if raw.get(key)]
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        raise FileSetError(
            f"{path}: give exactly one of template, content, link, directory: true, touch: true (found {found})"
        )
    kind: Kind = "file" if given[0] in ("content", "sha256") else given[0]  # type: ignore[assignment]
    mode = parse_mode(raw.get("mode"), path)
    if kind == "link" and mode is not None:
        raise FileSetError(f"{path}: a link has no mode of its own. Remove mode: from this item")
    return Item(
        path=path,
        kind=kind,
        content=raw["content"].encode() if given[0] == "content" else b"",
        target=raw["link"] if kind == "link" else "",
        owner=raw.get("owner"),
        group=raw.get("group"),
        mode=DEFAULT_MODE[kind] if mode is None else mode,
        sensitive=bool(raw.get("sensitive")),
        part=raw.get("part") or "",
        sha256=raw.get("sha256") or "",
    )


def parse_items(raw: Iterable[Mapping[str, Any]]) -> list[Item]:
    """The wanted items, directories first, so that every parent is made before what lies in it."""
    items = [parse_item(one) for one in raw]
    seen: dict[str, Item] = {}
    for item in items:
        if item.path in seen:
            raise FileSetError(f"{item.path}: wanted twice in this set. Remove one of the two items")
        seen[item.path] = item
    for item in items:
        for parent in parents(item.path):
            if parent in seen and seen[parent].kind not in ("directory", "link"):
                raise FileSetError(
                    f"{item.path}: lies in {parent}, which this set wants as a {seen[parent].kind}"
                )
    return sorted(items, key=lambda item: (item.kind != "directory", item.path))


def check_path(path: str, what: str) -> None:
    if not path.startswith("/") or os.path.normpath(path) != path or "\0" in path or path == "/":
        raise FileSetError(
            f"{path}: {what} must be absolute and plain, without '//', '.', '..' or a trailing slash"
        )


def parents(path: str) -> list[str]:
    found = []
    while (path := os.path.dirname(path)) != "/":
        found.append(path)
    return found


def within(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def digest(items: Iterable[Item]) -> str:
    """One value for all that is wanted: it changes with any content, target, owner or mode."""
    rows = [
        [item.path, item.kind, item.fingerprint, item.owner, item.group, item.mode]
        for item in sorted(items, key=lambda item: item.path)
    ]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:32]


def with_digest(items: Sequence[Item], value: str) -> list[Item]:
    """The items with the placeholder replaced. The digest is computed before: it cannot contain itself."""
    placeholder = DIGEST_PLACEHOLDER.encode()
    return [
        replace(item, content=item.content.replace(placeholder, value.encode()))
        if placeholder in item.content
        else item
        for item in items
    ]


def compare(item: Item, current: Current, uid: int | None, gid: int | None) -> Change | None:
    """What has to change, or None. *uid* and *gid* are None where the set does not care."""
    if current.state == "absent":
        return Change(item, current, ("absent",))
    if current.state == "other" or (current.state == "directory") != (item.kind == "directory"):
        found = "a device, pipe or socket" if current.state == "other" else f"a {current.state}"
        raise FileSetError(
            f"{item.path}: is {found}, but must be a {item.kind}. Move it away by hand; nothing was changed"
        )
    if item.kind == "touch" and current.state == "link":
        raise FileSetError(
            f"{item.path}: is a link, but must be a file. Remove the link by hand; nothing was changed"
        )
    reasons = []
    if item.kind == "link":
        if current.state != "link" or current.target != item.target:
            reasons.append("target")
    elif item.kind == "file" and (current.state != "file" or not _has_content(item, current)):
        reasons.append("content")
    if uid is not None and uid != current.uid:
        reasons.append("owner")
    if gid is not None and gid != current.gid:
        reasons.append("group")
    if (
        item.kind != "link"
        and item.mode is not None
        and current.state != "link"
        and item.mode != current.mode
    ):
        reasons.append("mode")
    return Change(item, current, tuple(reasons)) if reasons else None


def _has_content(item: Item, current: Current) -> bool:
    return current.fingerprint == item.sha256 if item.sha256 else current.content == item.content


_FIELD = re.compile(r"\{([a-z_][a-z0-9_]*)((?:\.[a-z_][a-z0-9_]*)*)\}", re.IGNORECASE)


def expand(text: str, variables: Mapping[str, Any]) -> str:
    """Replace `{site.name}` by the value in *variables*. Only keys of mappings are reached; nothing is run."""

    def value(match: re.Match[str]) -> str:
        found: Any = variables
        for key in (match[1] + match[2]).split("."):
            if not isinstance(found, Mapping) or key not in found:
                known = ", ".join(sorted(map(str, variables)))
                raise FileSetError(f"{text}: {match[0]} is unknown. Known: {known}")
            found = found[key]
        return str(found)

    return _FIELD.sub(value, text)


def staged_target(link_path: str, target: str, tree: str, stage: str) -> str:
    """Where a link of *tree* has to point in its staging copy: into the copy if it points into the tree."""
    absolute = os.path.normpath(os.path.join(os.path.dirname(link_path), target))
    if within(absolute, tree):
        return stage + absolute[len(tree) :] if os.path.isabs(target) else target
    return absolute


def idle(units: Sequence[str], shown: str) -> list[str]:
    """Those of *units* that do not run or would not after a boot, by `systemctl show`: one paragraph per unit, in order."""
    paragraphs = [set(one.splitlines()) for one in shown.split("\n\n")]
    paragraphs += [set()] * (len(units) - len(paragraphs))
    wanted = {"ActiveState=active", "UnitFileState=enabled"}
    return [unit for unit, said in zip(units, paragraphs, strict=False) if not wanted <= said]
