"""The filter by which the hosts of a run agree on what becomes of their apps.

It has a file of its own, since its decisions need the state of releases, which no other filter does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..plugin_utils.controller.native import to_native
from ..plugin_utils.release import fleet
from ..plugin_utils.schema.apps import is_present


def fleet_verdict(
    hosts: Sequence[str],
    hostvars: Mapping[str, Mapping[str, Any]],
    phase: str,
    before: Mapping[str, Any] | None = None,
    only: str = "",
    wanted: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What becomes of the apps of *hosts* after *phase*. *before* is the verdict after the phase before."""
    names = {name.strip() for name in only.split(",") if name.strip()}
    apps = to_native((before or {}).get("apps")) or hosts_of_apps(hosts, hostvars, names)
    results = {host: result_of(hostvars[host]) for host in hosts}
    asked = to_native(dict(wanted or {}))
    now = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    found: dict[str, Any] = dict(fleet.verdict(apps, results, phase, now, asked))
    for key in ("names", "targets"):
        found[key] = found[key] or to_native((before or {}).get(key)) or {}
    return found


def hosts_of_apps(
    hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], names: set[str]
) -> dict[str, list[str]]:
    """The apps called *names*, all where there are none, each with its hosts in the order of *hosts*."""
    found: dict[str, list[str]] = {}
    for host in hosts:
        for app in hostvars[host].get("python_apps") or ():
            if is_present(app) and (not names or app["name"] in names):
                found.setdefault(str(app["name"]), []).append(host)
    return found


def result_of(variables: Mapping[str, Any]) -> dict[str, Any]:
    """What a host with these *variables* said of its apps; what site.yml found, where nothing differed."""
    if result := variables.get("__python_apps_release"):
        return dict(to_native(result))
    drift = variables.get("__drift") or {}
    return dict(to_native(drift)) if drift.get("apps") and not drift.get("differs") else {}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"fleet_verdict": fleet_verdict}
