"""What a set wrote, which it remembers from run to run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .items import Item

#: Where a set remembers what it wrote.
MANIFESTS = "/var/lib/emperor-stack/file_set"


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
