"""What makes a set of files of what a host has."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from . import items as logic
from .items import Change, Current, FileSetError, Item
from .manifest import Manifest
from .pruning import Leftovers, Prune, leftovers, matches, warnings
from .swap import ids, inspect


@dataclass(frozen=True)
class Plan:
    """What makes a set of items of what is there."""

    items: list[Item]
    digest: str
    changes: list[Change]
    left: Leftovers
    present: dict[str, Current]

    @property
    def removed(self) -> list[str]:
        return list(self.left.remove)

    @property
    def paths(self) -> list[str]:
        return [change.item.path for change in self.changes] + self.removed

    def remarks(self, prune: list[Prune]) -> list[str]:
        """What every run says of files that are left alone."""
        edited = (
            "no longer wanted, but changed since they were written, so left in place: "
            f"{', '.join(self.left.edited)}. Remove them by hand"
        )
        return [*([edited] if self.left.edited else []), *warnings(prune, self.left.foreign)]


def make_plan(wanted: list[Item], prune: list[Prune], manifest: Manifest, check_mode: bool) -> Plan:
    """Compare *wanted* with the host. Raises FileSetError, outside check mode also for a directory that is missing."""
    digest = logic.digest(wanted)
    items = logic.with_digest(wanted, digest)
    left, present = _look_for_leftovers(prune, manifest, items)
    return Plan(items, digest, _compare(items, check_mode), left, present)


def _compare(items: list[Item], check_mode: bool) -> list[Change]:
    changes = []
    made = {item.path for item in items if item.kind == "directory"}
    for item in items:
        parent = os.path.dirname(item.path)
        if not check_mode and parent not in made and not os.path.isdir(parent):
            raise FileSetError(
                f"{item.path}: its directory {parent} does not exist. "
                f"Add an item {{path: {parent}, directory: true}}"
            )
        if change := logic.compare(item, inspect(item.path), *ids(item, check_mode)):
            changes.append(change)
    return changes


def _look_for_leftovers(
    prune: list[Prune], manifest: Manifest, items: list[Item]
) -> tuple[Leftovers, dict[str, Current]]:
    present: dict[str, Current] = {}
    for one in prune:
        if one.below:
            present |= {
                path: current
                for path in manifest.files
                if logic.within(path, one.directory) and (current := inspect(path)).state != "absent"
            }
            continue
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(one.directory):
                if matches(name, one.pattern):
                    path = os.path.join(one.directory, name)
                    present[path] = inspect(path)
    found = leftovers(manifest, [item.path for item in items], present)
    # A directory of ours in which others put something stays.
    gone = set(found.remove)
    for path in found.remove:
        if present[path].state == "directory":
            others = [name for name in os.listdir(path) if os.path.join(path, name) not in gone]
            if others:
                gone.discard(path)
    return (
        Leftovers(
            tuple(path for path in found.remove if path in gone),
            tuple(sorted({*found.foreign, *(set(found.remove) - gone)})),
            found.edited,
        ),
        present,
    )
