"""What `--diff` shows of a change and of a removal."""

from __future__ import annotations

import difflib
import hashlib

from .items import Change, Current, Item
from .manifest import Manifest
from .plan import Plan

#: Where the bundle's own programs are.
PROGRAMS = "/usr/local/lib/emperor-stack/"

#: So many of their files are named one by one.
FEW = 5


def describe_attributes(item: Item) -> str:
    parts = [f"{item.kind}"]
    if item.owner is not None or item.group is not None:
        parts.append(f"{item.owner or ''}:{item.group or ''}")
    if item.mode is not None:
        parts.append(f"{item.mode:04o}")
    return " ".join(parts)


def diff_of_change(change: Change, whole: bool) -> dict[str, str]:
    """Ansible's form of a diff; it makes a unified one from before and after.

    Unless *whole*, a new file and a program of the bundle are one line: their text is the bundle's, and long.
    """
    item, current = change.item, change.current
    what = ", ".join(change.reasons)
    if item.kind in ("directory", "touch") or not {"content", "target", "absent"} & set(change.reasons):
        return {"prepared": f"{item.path}: {what} -> {describe_attributes(item)}\n"}
    if item.sensitive:
        return {"prepared": f"{item.path}: {what} (sensitive, not shown) -> {describe_attributes(item)}\n"}
    before = "" if change.created else shown(current.state, current.content, current.target)
    after = shown(item.kind, item.content, item.target)
    if not whole and change.created:
        size = item.target if item.kind == "link" else f"{len(after.splitlines())} lines"
        return {"prepared": f"{item.path}: new {describe_attributes(item)}, {size}\n"}
    if not whole and item.path.startswith(PROGRAMS):
        return {"prepared": f"{item.path}: changed, {_count(before, after)} (-vv shows the lines)\n"}
    return {
        "before_header": f"{item.path} ({'absent' if change.created else 'found'})",
        "after_header": f"{item.path} ({describe_attributes(item)})",
        "before": before,
        "after": after,
    }


def _count(before: str, after: str) -> str:
    """How many lines a change adds and removes."""
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    return f"+{sum(line[:2] == '+ ' for line in lines)} -{sum(line[:2] == '- ' for line in lines)} lines"


def diff_of_removal(path: str, current: Current, sensitive: bool, whole: bool) -> dict[str, str]:
    if sensitive or current.state == "directory" or (not whole and path.startswith(PROGRAMS)):
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


def diff_of_plan(plan: Plan, manifest: Manifest, whole: bool) -> list[dict[str, str]]:
    """All that *plan* changes and removes. *manifest* knows which of the removed files are secret.

    Unless *whole*, many files of the bundle's programs are one line.
    """
    changes, removed, programs = plan.changes, plan.removed, ""
    own = {path for path in plan.paths if path.startswith(PROGRAMS)}
    if not whole and len(own) > FEW:
        new = sum(change.created for change in changes if change.item.path in own)
        gone = len([path for path in removed if path in own])
        programs = (
            f"{PROGRAMS}: {new} new, {len(own) - new - gone} changed, {gone} removed files of Emperor Stack's own programs "
            "(-vv shows them)\n"
        )
        changes = [change for change in changes if change.item.path not in own]
        removed = [path for path in removed if path not in own]
    return [
        *([{"prepared": programs}] if programs else []),
        *(diff_of_change(change, whole) for change in changes),
        *(diff_of_removal(path, plan.present[path], path in manifest.sensitive, whole) for path in removed),
    ]
