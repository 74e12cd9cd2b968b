"""Filters about apps that are to go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.values import names as app_names
from ..plugin_utils.schema.apps import absent_apps, is_present, renamed_apps

App = Mapping[str, Any]


def named_apps(names: str, apps: Sequence[App], host: str = "") -> list[dict[str, str]]:
    """What module app_removal takes as `apps` for *names*, separated by commas, of which none may be in *apps* to stay.

    Raises AnsibleFilterError.
    """
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    if not chosen:
        raise AnsibleFilterError("Add -e app=NAME")
    present = {app["name"] for app in apps if is_present(app)}
    successors = {app["name"]: app for app in renamed_apps(apps)}
    for name in chosen:
        if app_names.name(name):
            raise AnsibleFilterError(f"-e app={name}: an app cannot have this name")
        if name in present:
            raise AnsibleFilterError(
                f"-e app={name}: the inventory still has this app on {host}, and the next site.yml would "
                "bring it back. Give it `state: absent`, or remove it from python_apps; or leave this "
                "host out with --limit"
            )
    return [successors.get(name, {"name": name}) for name in chosen]


def known_names(apps: Sequence[App]) -> list[str]:
    """All names in *apps*: those that stay, that are to go, and that apps had before."""
    return [
        *(app["name"] for app in apps if is_present(app)),
        *(app["name"] for app in (*absent_apps(apps), *renamed_apps(apps))),
    ]


def removal_report(result: Mapping[str, Any], would: bool = False) -> list[str]:
    """What a removal took away, or *would* take, for people: a line of sums for each app, then each thing."""
    lines = []
    for name, outcome in sorted(result.get("apps", {}).items()):
        if outcome.get("error"):
            lines.append(f"{name}: NOT removed: {outcome['error']}")
        if not (outcome.get("user") or outcome.get("units") or outcome.get("paths")):
            if not outcome.get("error"):
                lines.append(f"{name}: nothing to remove")
            continue
        size = -(-outcome.get("bytes", 0) // 2**20)
        data = -(-outcome.get("data_bytes", 0) // 2**20)
        verb = "would be removed" if would else "removed"
        lines.append(
            f"{name}: {verb}: {size} MiB, of which {data} MiB are data; {len(outcome['activations'])} activations, "
            f"{len(outcome['units'])} units, {len(outcome['paths'])} paths{', its user' if outcome.get('user') else ''}"
        )
        lines += [f"  user {outcome['user']}"] if outcome.get("user") else []
        lines += [f"  unit {unit}" for unit in outcome["units"]]
        lines += [f"  {path}" for path in outcome["paths"]]
        kept = (
            "its data and its logs of the web server"
            if outcome.get("data_archived")
            else "its logs of the web server"
        )
        lines += [f"  {kept} are in {outcome['archive']}"] if outcome.get("archive") else []
        lines += [f"  not in the archive: {line}" for line in outcome.get("not_archived", [])]
        lines += [f"  stays: {line}" for line in outcome["left"]]
    return lines


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"named_apps": named_apps, "known_names": known_names, "removal_report": removal_report}
