"""Everything that is wrong with `python_apps`, over the whole inventory at once.

Pure: what is on the controller's disk is asked through two functions. No message shows a secret.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any

from ....module_utils.values import names as app_names
from ..apps import is_present
from ..faults import Fault, Unresolved, given, shown, unresolved
from ..fields.app import APP
from .app import CROSS_RULES
from .entries import entries, good_text, name_of, present, schema_of
from .fleet import default_site_clashes, domain_clashes, name_clashes, shared_machines
from .found import APPS, SECRETS, Controller, HostApps, Problem
from .secrets import hiding, secret_faults, secret_forms, without_secrets


def problems(fleet: Mapping[str, HostApps], controller: Controller) -> list[Problem]:
    """All problems, in the order of hosts and apps; one that several hosts share is listed once."""
    found: dict[Fault, list[str]] = defaultdict(list)
    known = {label for host in fleet.values() for _, app in entries(host.apps) if (label := name_of(app))}
    checked: dict[str, list[Fault]] = {}
    for host, declared in fleet.items():
        for fault in _host_faults(declared, known, controller, checked):
            if host not in found[fault]:
                found[fault].append(host)
    listed = [Problem(tuple(hosts), fault.where, fault.reason, fault.fix) for fault, hosts in found.items()]
    listed += [
        *shared_machines(fleet),
        *name_clashes(fleet),
        *domain_clashes(fleet),
        *default_site_clashes(fleet),
    ]
    return without_secrets(listed, fleet)


def app_count(fleet: Mapping[str, HostApps]) -> int:
    return len({name_of(app) for host in fleet.values() for _, app in present(host.apps)})


# one host


def _host_faults(
    declared: HostApps, known: set[str], controller: Controller, checked: dict[str, list[Fault]]
) -> Iterator[Fault]:
    yield from _misspelt(declared)
    apps = declared.apps
    if isinstance(apps, Unresolved):
        yield unresolved(apps, APPS)
    elif not isinstance(apps, list | tuple) and apps is not None:
        yield Fault(APPS, f"this is {given(apps)}, but must be a list of apps", _smallest_app())
    for where, app in entries(apps, everything=True):
        # Most hosts of a fleet share their apps by a group variable: each distinct entry is checked once.
        key = f"{where} {app!r}"
        if key not in checked:
            checked[key] = list(_app_faults(app, where, controller))
        if checked[key]:
            yield from hiding(checked[key], app, where, secret_forms([declared]))
    yield from _duplicates(apps)
    yield from _renaming_faults(apps)
    yield from secret_faults(declared, known)


def _app_faults(app: Any, where: str, controller: Controller) -> Iterator[Fault]:
    yield from schema_of(app).faults(app, where, "- ")
    if isinstance(app, Mapping) and is_present(app):
        for cross_rule in CROSS_RULES:
            yield from cross_rule(app, where, controller)


def _smallest_app() -> str:
    lines = [field.example for field in APP.fields if field.required] + ["wsgi: blog.wsgi:application"]
    return f"{APPS}:\n  - " + "\n    ".join(lines)


def _misspelt(declared: HostApps) -> Iterator[Fault]:
    for wanted in (APPS, SECRETS):
        if wanted not in declared.variables:
            for name in sorted(declared.variables):
                if _alike(name, wanted):
                    reason = f"there is a variable {name}, and none {wanted}"
                    yield Fault(name, reason, f"did you mean {wanted}?")


def _alike(name: str, wanted: str) -> bool:
    """python_app, pyhton_apps; neither python_apps_extra nor _python_apps, which others may use."""
    near = abs(len(name) - len(wanted)) <= 1 and not name.startswith("_")
    return near and SequenceMatcher(None, name, wanted).ratio() >= 0.85


def _duplicates(apps: Any) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for where, app in entries(apps):
        name = name_of(app)
        if name and first.setdefault(name, where) != where:
            yield Fault(
                f"{where}.name",
                f"{shown(name)} is already the name of {first[name]} on this host",
                "give one of the two another name, or remove it",
            )


def _renaming_faults(apps: Any) -> Iterator[Fault]:
    places = {name_of(app): where for where, app in entries(apps)}
    first: dict[str, str] = {}
    for where, app in present(apps):
        old = good_text(app.get("renamed_from"), app_names.name)
        place = f"{where}.renamed_from"
        if old is None:
            continue
        if old == name_of(app):
            yield Fault(
                place, "this is the current name of the app", "write its old name here, or remove the key"
            )
        elif old in places:
            reason = f"{places[old]} is still in the list, and would be removed once {name_of(app) or 'this app'} is live"
            yield Fault(place, reason, f"remove {places[old]}, or remove renamed_from")
        elif first.setdefault(old, where) != where:
            reason = f"{first[old]} takes over {shown(old)} already"
            yield Fault(place, reason, "remove it from one of the two")
