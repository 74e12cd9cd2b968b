"""Each app over all of its hosts: one row, which names the hosts that have another release live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...module_utils.console import table
from ...module_utils.console.report import ACROSS, FAILED, GOOD, WARNING, Cell, Note, Report, Row

Status = Mapping[str, Any]


def of_fleet(
    apps: Mapping[str, Sequence[str]],
    found: Mapping[str, Mapping[str, Status]],
    balancers: Sequence[Mapping[str, Any]] = (),
) -> Report:
    """The report of *apps*, each with its hosts. *found* is by host and app; a host is missing that did not answer.

    *balancers* are the results of module balancer.
    """
    rows: list[Row] = []
    notes: list[Note] = []
    for app, hosts in apps.items():
        statuses = {host: found[host][app] for host in hosts if app in found.get(host, {})}
        about = len(notes)
        told = [*problems(hosts, statuses), *((WARNING, text) for text in held_out(app, hosts, balancers))]
        notes += [{"about": app, "state": state, "text": text} for state, text in told]
        drift: str | Cell = "-"
        if len(notes) > about:
            drift = {"text": notes[about]["text"].partition(" ")[0], "note": about}
        states = [note["state"] for note in notes[about:]]
        live: Status = _live(statuses[most[0]]) if (most := together(statuses)) else {}
        rows.append(
            {
                "cells": [
                    app,
                    str(live.get("release") or "-"),
                    table.version(live.get("version")),
                    f"{len(most)}/{len(hosts)}",
                    _health(hosts, statuses),
                    drift,
                ],
                "state": FAILED if FAILED in states else WARNING if states else GOOD,
            }
        )
    return {"table": ACROSS, "rows": rows, "notes": notes}


def _live(status: Status) -> Status:
    live: Status = status.get("live") or {}
    return live


def together(statuses: Mapping[str, Status]) -> list[str]:
    """The hosts with the release that most hosts have live; of as many, those of the first host."""
    by_revision: dict[str, list[str]] = {}
    for host, status in statuses.items():
        by_revision.setdefault(str(_live(status).get("revision")), []).append(host)
    return max(by_revision.values(), key=len, default=[])


def problems(hosts: Sequence[str], statuses: Mapping[str, Status]) -> Iterator[tuple[str, str]]:
    """State and text of what differs between the *hosts* of an app."""
    most = together(statuses)
    for host in hosts:
        if host not in statuses:
            yield WARNING, f"{host} does not answer: its release is not known"
        elif host not in most:
            live = _live(statuses[host])
            said = f"{live['release']} ({live.get('version')})" if live.get("release") else "no release"
            yield FAILED, f"{host} has {said} live, unlike {', '.join(most)}"


def held_out(app: str, hosts: Sequence[str], balancers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Which of *hosts* get no requests for *app* from which of the *balancers*, until a run lets them in."""
    for host in hosts:
        hold = {"app": app, "host": host}
        if found := [str(one.get("__balancer")) for one in balancers if hold in (one.get("held") or ())]:
            yield f"{host} gets no requests: {', '.join(found)} hold it out until a deploy has brought it up to date"


def _health(hosts: Sequence[str], statuses: Mapping[str, Status]) -> str:
    good = sum(status.get("health") == "ok" for status in statuses.values())
    return "ok" if good == len(hosts) else f"ok on {good}/{len(hosts)}"


def drifting(apps: Mapping[str, Sequence[str]], found: Mapping[str, Mapping[str, Status]]) -> list[str]:
    """A line for each app whose hosts that answered have different revisions live."""
    lines = []
    for app, hosts in apps.items():
        statuses = {host: found[host][app] for host in hosts if app in found.get(host, {})}
        lines += [f"{app}: {text}" for state, text in problems(hosts, statuses) if state == FAILED]
    return lines
