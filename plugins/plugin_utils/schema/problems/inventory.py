"""Everything that is wrong with `python_apps`, over the whole inventory at once.

Pure: what is on the controller's disk is asked through two functions. No message shows a secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any

from ....module_utils.values import names as app_names
from ..apps import is_present
from ..faults import Fault, Unresolved, given, shown, unresolved
from ..fields.app import APP
from .app import CROSS_RULES
from .entries import entries, good_text, name_of, present, schema_of
from .fleet import (
    default_site_clashes,
    default_sites_of_balancers,
    domain_clashes,
    name_clashes,
    shared_machines,
)
from .found import APPS, SECRETS, Controller, HostApps, Problem, grouped
from .secrets import hiding, secret_faults, secret_forms, without_secrets


def problems(fleet: Mapping[str, HostApps], controller: Controller, balanced: bool = False) -> list[Problem]:
    """All problems, in the order of hosts and apps; one that several hosts share is listed once.

    *balanced* says whether the hosts are behind balancers.
    """
    known = {label for host in fleet.values() for _, app in entries(host.apps) if (label := name_of(app))}
    check = _Check(known, controller)
    listed = [
        *grouped((host, fault) for host, declared in fleet.items() for fault in check.of_host(declared)),
        *shared_machines(fleet),
        *name_clashes(fleet),
        *domain_clashes(fleet),
        *default_site_clashes(fleet),
        *(default_sites_of_balancers(fleet) if balanced else ()),
    ]
    return without_secrets(listed, fleet)


def app_count(fleet: Mapping[str, HostApps]) -> int:
    return len({name_of(app) for host in fleet.values() for _, app in present(host.apps)})


def shared_apps(fleet: Mapping[str, HostApps]) -> dict[str, list[str]]:
    """The apps that more than one host has, each with its hosts."""
    found: dict[str, list[str]] = {}
    for host, declared in fleet.items():
        for _, app in present(declared.apps):
            found.setdefault(name_of(app), []).append(host)
    return {app: hosts for app, hosts in sorted(found.items()) if len(hosts) > 1}


# one host


class _Check:
    """Checks hosts. Most hosts of a fleet share their apps by a group variable: what is the same is checked once."""

    def __init__(self, known: set[str], controller: Controller) -> None:
        self._known = known
        self._controller = controller
        self._hosts: dict[tuple[int, int, frozenset[str]], list[Fault]] = {}
        self._apps: dict[tuple[str, int], list[Fault]] = {}
        self._written: dict[str, list[Fault]] = {}

    def of_host(self, declared: HostApps) -> list[Fault]:
        # By id: the fleet holds all of them until the end.
        key = (id(declared.apps), id(declared.secrets), declared.variables)
        if key not in self._hosts:
            self._hosts[key] = list(self._host_faults(declared))
        return self._hosts[key]

    def _host_faults(self, declared: HostApps) -> Iterator[Fault]:
        yield from _misspelt(declared)
        apps = declared.apps
        if isinstance(apps, Unresolved):
            yield unresolved(apps, APPS)
        elif not isinstance(apps, list | tuple) and apps is not None:
            yield Fault(APPS, f"this is {given(apps)}, but must be a list of apps", _smallest_app())
        forms: list[str] | None = None
        for where, app in entries(apps, everything=True):
            if faults := self._of_app(where, app):
                forms = secret_forms([declared]) if forms is None else forms
                yield from hiding(faults, app, where, forms)
        yield from _duplicates(apps)
        yield from _renaming_faults(apps)
        yield from secret_faults(declared, self._known)

    def _of_app(self, where: str, app: Any) -> list[Fault]:
        key = (where, id(app))
        if key not in self._apps:
            # What a template made is another object on each host, and often the same.
            written = f"{where} {app!r}"
            if written not in self._written:
                self._written[written] = list(_app_faults(app, where, self._controller))
            self._apps[key] = self._written[written]
        return self._apps[key]


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
