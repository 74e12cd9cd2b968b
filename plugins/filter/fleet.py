"""Filters that look at an app over all of its hosts.

They have a file of their own, since their decisions need the state of releases, which no other filter does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..module_utils.source.references import is_commit
from ..plugin_utils.console import fleet_status as fleet_report
from ..plugin_utils.controller.native import to_native
from ..plugin_utils.release import canary, fleet, host_holds
from ..plugin_utils.schema.apps import is_present
from ..plugin_utils.schema.fields.fleet import CANARY


def fleet_verdict(
    hosts: Sequence[str],
    hostvars: Mapping[str, Mapping[str, Any]],
    phase: str,
    before: Mapping[str, Any] | None = None,
    only: str = "",
    wanted: Mapping[str, Any] | None = None,
    without: Sequence[str] | None = None,
    watched: Mapping[str, str] | None = None,
    balancers: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """What becomes of the apps of *hosts* after *phase*. *before* is the verdict after the phase before.

    The hosts *without* do not take part. *watched* is what hosts that switched first are worth: see `canary_watched`.
    *balancers* are the results of module balancer, before anything was begun.
    """
    names = {name.strip() for name in only.split(",") if name.strip()}
    if phase in fleet.FIRST:
        # What is there is of a playbook before, in the same process.
        before = None
    apps = to_native((before or {}).get("apps")) or hosts_of_apps(hosts, hostvars, names)
    results = {host: result_of(hostvars[host]) for host in hosts}
    asked = to_native(dict(wanted or {}))
    now = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    canaries = canary_settings(apps, hostvars) if phase == "plan" else {}
    reasons, said = to_native(dict(watched or {})), to_native(list(balancers or ()))
    groups = hostvars[hosts[0]].get("groups", {})
    if canaries and not groups.get("balancers"):
        reasons |= dict.fromkeys(canaries, NO_BALANCERS)
    if phase in fleet.FIRST:
        limited = beyond_limit(hosts, hostvars, groups.get("app_hosts") or hosts, names, without or ())
        # A new host gets its first release by itself: no visitor comes before it has one.
        reasons |= {
            app: LIMITED.format(hosts=", ".join(beyond))
            for app, beyond in limited.items()
            if phase == "choose"
            or any(fleet.outcome_of(results[host], app).get("live") for host in apps[app])
        }
    found: dict[str, Any] = dict(fleet.verdict(apps, results, phase, now, asked, canaries, reasons, said))
    for key in ("names", "targets", "canaries"):
        found[key] = found[key] or to_native((before or {}).get(key)) or {}
    if phase in fleet.FIRST:
        going = found["names"] | found["targets"]
        found["holds"] = host_holds.of_left_out(
            hosts_of_apps(without or (), hostvars, names), going, without or ()
        )
    else:
        found["holds"] = host_holds.of_silent(apps, results, found["called_off"], phase)
    return found


NO_BALANCERS = (
    "fleet.canary needs balancers, which count the answers, and the inventory's group balancers is empty. Add them, or "
    "remove the key"
)


LIMITED = (
    "{hosts}, which has it too, is left out by --limit, and would keep another release. Leave --limit out, or add "
    "-e without=HOST, which also lets no visitor come there"
)


def beyond_limit(
    hosts: Sequence[str],
    hostvars: Mapping[str, Mapping[str, Any]],
    everywhere: Sequence[str],
    names: set[str],
    without: Sequence[str],
) -> dict[str, list[str]]:
    """By app of *hosts*, those of its hosts *everywhere* that take no part in the run, and are not *without* on purpose."""
    beyond = [host for host in everywhere if host not in hosts and host not in without]
    if not beyond:
        return {}
    here = hosts_of_apps(hosts, hostvars, names)
    found = hosts_of_apps(beyond, hostvars, names)
    return {app: others for app, others in found.items() if app in here}


def fleet_limited(
    hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], only: str = ""
) -> list[str]:
    """Apps of the *hosts* of a run that other hosts of the inventory have too."""
    names = {name.strip() for name in only.split(",") if name.strip()}
    everywhere = hostvars[hosts[0]].get("groups", {}).get("app_hosts") or hosts
    return list(beyond_limit(hosts, hostvars, everywhere, names, ()))


def fleet_commits(
    hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], only: str = ""
) -> dict[str, Any]:
    """The apps of *hosts*, and the commit of the wanted version where a host has asked for it, for the option `fleet`."""
    names = {name.strip() for name in only.split(",") if name.strip()}
    commits: dict[str, str] = {}
    for host in hosts:
        said = to_native((hostvars[host].get("__python_apps_resolved") or {}).get("apps") or {})
        commits |= {app: one["commit"] for app, one in said.items() if is_commit(str(one.get("commit")))}
    return {"apps": hosts_of_apps(hosts, hostvars, names), "commits": commits}


def canary_settings(
    apps: Mapping[str, Sequence[str]], hostvars: Mapping[str, Mapping[str, Any]]
) -> dict[str, canary.Settings]:
    """What those of *apps* that are on several hosts say of hosts that go first."""
    found: dict[str, canary.Settings] = {}
    for app, hosts in apps.items():
        if len(hosts) < 2:
            continue
        declared = next(one for one in hostvars[hosts[0]]["python_apps"] if one["name"] == app)
        if (wanted := to_native(declared.get("fleet") or {}).get("canary")) is not None:
            completed: Any = CANARY.complete(wanted)
            found[app] = completed
    return found


def canary_watched(
    canaries: Mapping[str, canary.Canary],
    results: Sequence[Mapping[str, Any]],
    before: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What is known of hosts that switched first, after a look at the balancers that module balancer gave *results* of."""
    known: Any = to_native(dict(before or {}))
    return dict(canary.watch(to_native(dict(canaries)), known, to_native(list(results)), time.time()))


def canary_told(canaries: Mapping[str, canary.Canary], watched: Mapping[str, Any]) -> list[str]:
    """A line for each app: what the hosts did that switched first."""
    known: Any = to_native(dict(watched))
    return list(canary.told(to_native(dict(canaries)), known))


def canary_pause(canaries: Mapping[str, canary.Canary]) -> int:
    """Seconds between two looks at the balancers."""
    return canary.pause(to_native(dict(canaries)))


def fleet_holds(
    hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], only: str = "", without: str = ""
) -> list[host_holds.Hold]:
    """Which of *hosts* get requests at the end of a run, and which do not, as module balancer takes them."""
    names = {name.strip() for name in only.split(",") if name.strip()}
    left_out = [name.strip() for name in without.split(",") if name.strip()]
    everywhere = hosts_of_apps(hosts, hostvars, names)
    results = {host: result_of(hostvars[host]) for host in hosts}
    verdict = next((found for host in hosts if (found := hostvars[host].get("__python_apps_verdict"))), None)
    told = to_native(verdict) or {}
    going = (told.get("names") or {}) | (told.get("targets") or {})
    # Once more: when the run began, a host may have been the last one that was not held.
    again = host_holds.of_left_out(everywhere, going, left_out)
    return [*host_holds.at_end(everywhere, results, left_out), *again]


def holds_to_share(
    results: Sequence[Mapping[str, Any]], told: Sequence[Mapping[str, Any]] | None = None, only: str = ""
) -> list[host_holds.Hold]:
    """What some balancers hold out and others do not, by the *results* of module balancer after it was *told* something."""
    names = {name.strip() for name in only.split(",") if name.strip()}
    found = host_holds.to_share(to_native(list(results)), to_native(list(told or ())))
    return [one for one in found if not names or one["app"] in names]


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


def _statuses(
    hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], only: str
) -> tuple[dict[str, list[str]], dict[str, Any]]:
    names = {name.strip() for name in only.split(",") if name.strip()}
    said = {host: hostvars[host].get("__python_apps_status") or {} for host in hosts}
    found = {host: to_native(dict(one.get("apps") or {})) for host, one in said.items()}
    return hosts_of_apps(hosts, hostvars, names), found


def fleet_status(
    hosts: Sequence[str],
    hostvars: Mapping[str, Mapping[str, Any]],
    only: str = "",
    balancers: Sequence[Mapping[str, Any]] | None = None,
) -> fleet_report.Report:
    """A report with one row for each app over all of *hosts*. *balancers* are the results of module balancer."""
    return fleet_report.of_fleet(*_statuses(hosts, hostvars, only), to_native(list(balancers or ())))


def fleet_drift(hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], only: str = "") -> list[str]:
    """A line for each host that has another revision of an app live than the other hosts."""
    return fleet_report.drifting(*_statuses(hosts, hostvars, only))


def fleet_not_moved(
    hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], only: str = "", ended: bool = True
) -> list[str]:
    """Apps whose workers and commands of one host stay where they are for now.

    They do not begin on a host unless they have *ended* on all others, and do not end where none can begin them.
    """
    names = {name.strip() for name in only.split(",") if name.strip()}
    results = {host: result_of(hostvars[host]) for host in hosts}
    stay = fleet.not_moved if ended else fleet.left_to_nobody
    return stay(hosts_of_apps(hosts, hostvars, names), results)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "fleet_verdict": fleet_verdict,
            "fleet_commits": fleet_commits,
            "fleet_limited": fleet_limited,
            "canary_watched": canary_watched,
            "canary_told": canary_told,
            "canary_pause": canary_pause,
            "fleet_holds": fleet_holds,
            "holds_to_share": holds_to_share,
            "fleet_not_moved": fleet_not_moved,
            "fleet_status": fleet_status,
            "fleet_drift": fleet_drift,
        }
