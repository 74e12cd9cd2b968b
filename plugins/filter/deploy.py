"""Filters that choose the apps of a deploy, and say what became of them."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible._internal._datatag._tags import Origin
from ansible.errors import AnsibleFilterError

from ..plugin_utils.controller.native import readable, to_native
from ..plugin_utils.schema.apps import is_present

App = Mapping[str, Any]


def choose_apps(apps: Sequence[App], only: str = "", version: str = "") -> list[dict[str, Any]]:
    """The apps whose names stand in *only* (separated by commas; empty: all), at *version* where that is given.

    Raises AnsibleFilterError for a *version* without exactly one git app.
    """
    names = [name.strip() for name in only.split(",") if name.strip()]
    chosen = [app for app in readable(apps) if is_present(app) and (not names or app["name"] in names)]
    if version:
        if len(names) != 1:
            raise AnsibleFilterError("-e version=… needs exactly one app: add -e app=NAME")
        for app in chosen:
            if not app["source"].get("git"):
                raise AnsibleFilterError(
                    f"-e version=…: {app['name']} does not come from git and has no version"
                )
            app["source"] = {**app["source"], "version": str(version)}
    return chosen


def unkept_version(apps: Sequence[App], only: str, version: str) -> list[str]:
    """A line that says which *version* the app *only* has until the next run, where *apps* want another one for good."""
    warnings = []
    for app in apps:
        if not is_present(app) or app["name"] != only.strip():
            continue
        kept = app["source"].get("version")
        if str(kept or "") != version:
            lasts = (
                f"the next run without -e version deploys {kept} again"
                if kept
                else "the inventory names no version"
            )
            warnings.append(
                f"{only}: -e version={version} lasts until the next run: {lasts}. To keep it, set source.version of "
                f"{only} to {version}{_place(kept)}"
            )
    return warnings


def _place(value: Any) -> str:
    """Where *value* stands, as Ansible remembers it."""
    origin = Origin.get_tag(value) if value is not None else None
    if origin is None or not origin.path:
        return " in the inventory"
    line = f", line {origin.line_num}" if origin.line_num else ""
    return f" in {os.path.relpath(origin.path)}{line}"


def check_names(only: str, fleet: Sequence[str]) -> str:
    """Return *only* when each name in it is an app of the *fleet*. Raises AnsibleFilterError that names a near one."""
    for name in (part.strip() for part in only.split(",")):
        if name and name not in fleet:
            near = difflib.get_close_matches(name, fleet, n=1)
            hint = (
                f" Did you mean {near[0]}?" if near else f" Available: {', '.join(sorted(fleet)) or 'none'}."
            )
            raise AnsibleFilterError(f"-e app={name}: no host of this inventory has that app.{hint}")
    return only


def hosts_with(
    hosts: Sequence[str], hostvars: Mapping[str, Any], app: str, everywhere: bool = False
) -> list[str]:
    """Those of *hosts* that have *app*; the first of them unless *everywhere*.

    Raises AnsibleFilterError when there is none, or *app* names more than one.
    """
    if "," in app:
        raise AnsibleFilterError(f"-e app={app}: name one app; a command runs in one app only")
    having = [
        host
        for host in hosts
        if app in [one["name"] for one in hostvars[host].get("python_apps") or () if is_present(one)]
    ]
    if not having:
        raise AnsibleFilterError(f"-e app={app}: no host of this run has that app; check --limit")
    return having if everywhere else having[:1]


def secrets_of(
    secrets: Mapping[str, Any] | None, apps: Sequence[App], connections: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The *secrets* of *apps*, app to secret to value, and their *connections*, which are in the same form.

    Secrets of all other apps are not decrypted, so that the vault password of one app is enough to deploy it.
    """
    both = (secrets or {}, connections or {})
    names = [app["name"] for app in apps if any(app["name"] in known for known in both)]
    return {
        name: {key: value for known in both for key, value in to_native(known.get(name) or {}).items()}
        for name in names
    }


def without_failed(apps: Sequence[App], result: Mapping[str, Any] | None = None) -> list[App]:
    """The apps that have no error in *result*; all of them where that task did not run."""
    outcomes = (result or {}).get("apps") or {}
    return [app for app in apps if not outcomes.get(app["name"], {}).get("error")]


def errors(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """What went wrong in the phases with these *results*: one text per app, or per phase that did not run at all."""
    lines = []
    for result in results:
        apps = result.get("apps", {})
        texts = [f"{name}: {one['error']}" for name, one in apps.items() if one.get("error")]
        if "stopped" in result:
            texts.append(result["stopped"])
        elif result.get("failed") and not texts:
            texts = [
                str(result.get("module_stderr") or result.get("msg") or "a phase failed without a reason")
            ]
        lines += texts
    return lines


def status_of_hosts(hosts: Sequence[str], hostvars: Mapping[str, Any]) -> dict[str, Any]:
    """The status that each of *hosts* registered, by host; each app has `backup`, the last backup of its host, or none."""
    found: dict[str, Any] = {}
    for host in hosts:
        asked = hostvars[host].get("__backup_status")
        backup = backup_status(asked) if asked and not asked.get("skipped") else None
        apps = hostvars[host].get("__python_apps_status", {}).get("apps", {})
        found[host] = {app: {**one, "backup": backup} for app, one in apps.items()}
    return found


def backup_status(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What the host's program of backups said when it was *asked*: good, time, hours, text, problems, restore_test."""
    untested = {"good": False, "time": None, "hours": None, "text": ""}
    try:
        return {"restore_test": untested, **json.loads(asked.get("stdout") or "")}
    except ValueError:
        reason = str(asked.get("stderr") or asked.get("msg") or "no answer").strip()
        text = f"the host does not say what became of its backups: {reason}"
        return {**untested, "text": text, "problems": [text], "restore_test": untested}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "choose_apps": choose_apps,
            "check_names": check_names,
            "unkept_version": unkept_version,
            "hosts_with": hosts_with,
            "secrets_of": secrets_of,
            "without_failed": without_failed,
            "errors": errors,
            "status_of_hosts": status_of_hosts,
            "backup_status": backup_status,
        }
