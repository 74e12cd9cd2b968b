"""What a set wrote earlier and no longer wants, and what others put beside it."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .items import Current, FileSetError, check_path, parents
from .manifest import Manifest


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
