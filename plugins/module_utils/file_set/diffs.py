"""What `--diff` shows of a change and of a removal."""

from __future__ import annotations

import hashlib

from .items import Change, Current, Item
from .manifest import Manifest
from .plan import Plan


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


def diff_of_plan(plan: Plan, manifest: Manifest) -> list[dict[str, str]]:
    """All that *plan* changes and removes. *manifest* knows which of the removed files are secret."""
    changes = [diff_of_change(change) for change in plan.changes]
    return changes + [
        diff_of_removal(path, plan.present[path], path in manifest.sensitive) for path in plan.removed
    ]
