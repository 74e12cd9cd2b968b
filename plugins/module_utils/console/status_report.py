"""What `playbooks/status.yml` found, as reports: a row per app, and below the table what there is to know beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from . import table
from .report import FAILED, GOOD, WARNING, Cell, Note, Report, Row

Status = Mapping[str, Any]


def of_apps(apps: Mapping[str, Status]) -> Report:
    """The report of what the phase `status` found."""
    rows: list[Row] = []
    notes: list[Note] = []
    for app, one in apps.items():
        rows.append(_row(app, one, notes))
        notes += [{"about": app, "state": GOOD, "text": text} for text in _details(one)]
    return {"table": "status", "rows": rows, "notes": notes}


def _row(app: str, status: Status, notes: list[Note]) -> Row:
    live = status.get("live") or {}
    running: Status = next((a for a in status.get("activations", []) if a.get("live")), {})
    name = str(running.get("activation") or "-")
    health, state = _health(app, status, notes)
    last, last_state = _last_run(app, status, notes)
    requests = running.get("requests")
    cells: list[str | Cell] = [
        app,
        str(live.get("release") or "-"),
        f"@{name.rpartition('@')[2]}" if "@" in name else name,
        table.version(live.get("version")),
        health,
        f"{running['busy']}/{running['workers']}" if running.get("running") else "down",
        str(running.get("memory_mib", "-")),
        str(requests if requests is not None else "-"),
        last,
    ]
    return {"cells": cells, "state": FAILED if FAILED in (state, last_state) else state}


def _health(app: str, status: Status, notes: list[Note]) -> tuple[str | Cell, str]:
    """`ok`, or where to read why not."""
    health = status.get("error") or status.get("health")
    if health == "ok":
        return "ok", GOOD
    if not status.get("error") and not status.get("live"):
        return "not live", WARNING
    notes.append({"about": app, "state": FAILED, "text": str(health or "the host does not say")})
    return {"text": "error" if status.get("error") else "fails", "note": len(notes) - 1}, FAILED


def _last_run(app: str, status: Status, notes: list[Note]) -> tuple[str | Cell, str]:
    """What ran last and when, by the day and the minute; where that failed, where to read of it."""
    history = status.get("history") or []
    if not history:
        return "-", GOOD
    last = history[-1]
    when = str(last.get("time") or "")[5:16].replace("T", " ")
    if last.get("result") == "good":
        return f"{last.get('kind')} {when}", GOOD
    # All of it stands in the manifest of the release.
    reason = next(iter(str(last.get("reason") or "").splitlines()), "?")
    text = f"the {last.get('kind')} of {last.get('time')} failed in {last.get('phase')}: {reason}"
    notes.append({"about": app, "state": WARNING, "text": text})
    return {"text": "FAILED", "note": len(notes) - 1}, WARNING


def _details(status: Status) -> Iterator[str]:
    """One line for each thing that not every app has."""
    for activation in status.get("activations", []):
        if not activation.get("live"):
            yield f"{activation['activation']} ({activation['release']}) is kept warm"
    for worker in status.get("workers", []):
        yield (
            f"worker {worker['worker']} of {worker['activation']} is {worker['state']}, restarted "
            f"{worker['restarts']} times"
        )
    for timer in status.get("timers", []):
        yield (
            f"{timer['timer']} runs next at {timer['next'] or '?'}, ran last at {timer['last'] or '-'} "
            f"({timer['result']})"
        )
    if disk := status.get("disk"):
        used, limit = (-(-disk[name] // 2**20) for name in ("size", "limit"))
        yield f"{used} of {limit} MiB of the disk, {disk['inodes']} of {disk['inode_limit']} files"
    if status.get("processor_divided") is False:
        yield (
            "this host has no CPU controller: an app with more busy processes gets more of the processor than one with "
            "fewer, and limits.cpu has no effect"
        )
    if since := status.get("maintenance"):
        yield f"in maintenance since {since}"
    if lock := status.get("lock"):
        yield f"a deploy by {lock.get('who')} is in phase {lock.get('phase')} since {lock.get('since')}"


def of_certificates(apps: Mapping[str, Status]) -> Report:
    """The report of what the phase `status` of module `certificates` found."""
    rows: list[Row] = []
    notes: list[Note] = []
    for app, one in apps.items():
        said = [
            *one["warnings"],
            *(f"{domain and domain + ': '}{text}" for domain, text in one["errors"].items()),
        ]
        source: str | Cell = one["source"]
        if said:
            source = {"text": one["source"], "note": len(notes)}
        notes += [{"about": app, "state": WARNING, "text": text} for text in said]
        rows.append(
            {
                "cells": [
                    app,
                    one["provider"],
                    source,
                    str(one["not_after"] or "-").partition("T")[0],
                    str(one["days"]),
                    " ".join(one["names"]),
                ],
                "state": WARNING if said else GOOD,
            }
        )
    return {"table": "certificates", "rows": rows, "notes": notes}
