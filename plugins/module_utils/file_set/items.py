"""What a set of files should become: parsing, comparing and bookkeeping, without touching a disk.

The module `file_set` does the input and output around these functions.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Kind = Literal["file", "link", "directory", "touch"]
State = Literal["absent", "file", "link", "directory", "other"]

#: Where a set remembers what it wrote.
MANIFESTS = "/var/lib/emperor-stack/file_set"

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

    @property
    def fingerprint(self) -> str:
        """What the manifest remembers of the content; attributes are not part of it."""
        return fingerprint("link" if self.kind == "link" else "file", self.target or self.content)


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
class Prune:
    directory: str
    pattern: str = "*"
    #: Said of what others put there. Empty: nothing is said.
    warning: str = ""
    #: Names of others that are to be there.
    known: tuple[str, ...] = ()
    #: All that the set wrote below the directory, whatever its name and depth; entries are not listed.
    below: bool = False


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


@dataclass
class Manifest:
    """Paths that a set wrote, each with the fingerprints that are ours.

    Two fingerprints of one path exist only between the start and the end of a run: a run that dies in between
    has written either of them.
    """

    files: dict[str, list[str]] = field(default_factory=dict)
    #: Paths whose content must not appear in a diff when they are removed.
    sensitive: frozenset[str] = frozenset()

    def owns(self, path: str) -> bool:
        return path in self.files

    def wrote(self, path: str, found: str) -> bool:
        return found in self.files.get(path, [])


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
    given = [key for key in ("content", "link") if raw.get(key) is not None]
    given += [key for key in ("directory", "touch") if raw.get(key)]
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        raise FileSetError(
            f"{path}: give exactly one of template, content, link, directory: true, touch: true (found {found})"
        )
    kind: Kind = "file" if given[0] == "content" else given[0]  # type: ignore[assignment]
    mode = parse_mode(raw.get("mode"), path)
    if kind == "link" and mode is not None:
        raise FileSetError(f"{path}: a link has no mode of its own. Remove mode: from this item")
    return Item(
        path=path,
        kind=kind,
        content=raw["content"].encode() if kind == "file" else b"",
        target=raw["link"] if kind == "link" else "",
        owner=raw.get("owner"),
        group=raw.get("group"),
        mode=DEFAULT_MODE[kind] if mode is None else mode,
        sensitive=bool(raw.get("sensitive")),
        part=raw.get("part") or "",
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
    elif item.kind == "file" and (current.state != "file" or current.content != item.content):
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


def parse_prune(raw: Iterable[Mapping[str, Any]] | None) -> list[Prune]:
    found = []
    for one in raw or []:
        check_path(one["directory"], "prune directory")
        pattern = one.get("pattern") or "*"
        if "/" in pattern:
            raise FileSetError(
                f"prune {one['directory']}: pattern {pattern!r} must match names, so it has no '/'"
            )
        found.append(
            Prune(
                one["directory"],
                pattern,
                one.get("warning") or "",
                tuple(one.get("known") or ()),
                bool(one.get("below")),
            )
        )
    return found


def matches(name: str, pattern: str) -> bool:
    """As a shell would match: `*` leaves hidden names alone."""
    return fnmatch.fnmatchcase(name, pattern) and (pattern.startswith(".") or not name.startswith("."))


@dataclass(frozen=True)
class Leftovers:
    """What prune directories hold beside the wanted: ours to remove, and others', to leave."""

    remove: tuple[str, ...]
    foreign: tuple[str, ...]
    edited: tuple[str, ...]


def leftovers(manifest: Manifest, wanted: Iterable[str], present: Mapping[str, Current]) -> Leftovers:
    """Sort *present* (paths in prune directories) by the exact knowledge of the manifest.

    Only what this set wrote and nobody changed since is removed.
    """
    keep = set(wanted)
    keep |= {parent for path in keep for parent in parents(path)}
    remove, foreign, edited = [], [], []
    for path, current in sorted(present.items()):
        if path in keep:
            continue
        if not manifest.owns(path):
            foreign.append(path)
        elif current.state == "directory" or manifest.wrote(path, current.fingerprint):
            remove.append(path)
        else:
            edited.append(path)
    # Deepest first, so that a directory of ours is empty when its turn comes.
    remove.sort(key=lambda path: (-path.count("/"), path))
    return Leftovers(tuple(remove), tuple(foreign), tuple(edited))


def warnings(prune: Iterable[Prune], foreign: Iterable[str]) -> list[str]:
    """What to say of files that others put into directories of the set: one text for each thing to say."""
    said: dict[str, list[str]] = {}
    for path in foreign:
        directory, name = os.path.split(path)
        for one in prune:
            if one.warning and one.directory == directory and matches(name, one.pattern):
                if not any(fnmatch.fnmatchcase(name, known) for known in one.known):
                    said.setdefault(one.warning, []).append(path)
                break
    return [f"{', '.join(sorted(paths))}: {warning}" for warning, paths in said.items()]


def before_run(manifest: Manifest, items: Sequence[Item]) -> Manifest:
    """To be written before the first change: all that is or will be ours, whatever moment the run dies at."""
    files = {path: list(known) for path, known in manifest.files.items()}
    for item in remembered(items):
        known = files.setdefault(item.path, [])
        if item.fingerprint not in known:
            known.append(item.fingerprint)
    return Manifest(files, manifest.sensitive | {item.path for item in items if item.sensitive})


def after_run(manifest: Manifest, items: Sequence[Item], removed: Iterable[str]) -> Manifest:
    files = {path: list(known) for path, known in manifest.files.items()}
    files.update({item.path: [item.fingerprint] for item in remembered(items)})
    for path in removed:
        files.pop(path, None)
    known_secret = manifest.sensitive - {item.path for item in items}
    secret = known_secret | {item.path for item in items if item.sensitive}
    return Manifest(files, frozenset(secret & files.keys()))


def remembered(items: Iterable[Item]) -> list[Item]:
    """Touched files belong to whoever fills them: never in the manifest, never pruned."""
    return [item for item in items if item.kind != "touch"]


def dump_manifest(manifest: Manifest) -> str:
    data = {"version": 1, "files": manifest.files, "sensitive": sorted(manifest.sensitive)}
    return json.dumps(data, indent=1, sort_keys=True) + "\n"


def load_manifest(text: str) -> Manifest:
    """Raises ValueError on anything but a manifest: guessing would mean to delete by guess."""
    data = json.loads(text)
    if not isinstance(data, dict) or data.get("version") != 1 or not isinstance(data.get("files"), dict):
        raise ValueError("not a manifest of version 1")
    files = data["files"]
    for path, known in files.items():
        if not isinstance(known, list) or not all(isinstance(one, str) for one in known):
            raise ValueError(f"the entry of {path} is not a list of fingerprints")
    return Manifest(files, frozenset(data.get("sensitive", [])))


def describe_attributes(item: Item) -> str:
    parts = [f"{item.kind}"]
    if item.owner is not None or item.group is not None:
        parts.append(f"{item.owner or ''}:{item.group or ''}")
    if item.mode is not None:
        parts.append(f"{item.mode:04o}")
    return " ".join(parts)


def diff_of_change(change: Change) -> dict[str, str]:
    """Ansible's form of a diff; it makes a unified one from before and after."""
    item, current = change.item, change.current
    what = ", ".join(change.reasons)
    if item.kind in ("directory", "touch") or not {"content", "target", "absent"} & set(change.reasons):
        return {"prepared": f"{item.path}: {what} -> {describe_attributes(item)}\n"}
    if item.sensitive:
        return {"prepared": f"{item.path}: {what} (sensitive, not shown) -> {describe_attributes(item)}\n"}
    before = "" if change.created else shown(current.state, current.content, current.target)
    return {
        "before_header": f"{item.path} ({'absent' if change.created else 'found'})",
        "after_header": f"{item.path} ({describe_attributes(item)})",
        "before": before,
        "after": shown(item.kind, item.content, item.target),
    }


def diff_of_removal(path: str, current: Current, sensitive: bool) -> dict[str, str]:
    if sensitive or current.state == "directory":
        return {"prepared": f"{path}: removed\n"}
    return {
        "before_header": f"{path} (found)",
        "after_header": f"{path} (removed)",
        "before": shown(current.state, current.content, current.target),
        "after": "",
    }


def shown(state: str, content: bytes, target: str) -> str:
    if state == "link":
        return f"-> {target}\n"
    try:
        return content.decode()
    except UnicodeDecodeError:
        return f"(binary, {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()})\n"


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
