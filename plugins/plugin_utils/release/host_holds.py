"""Which hosts the balancers hold out of an app: those that may have another release live than the other hosts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypedDict


class Hold(TypedDict):
    """What module balancer is told."""

    app: str
    host: str
    held: bool


def of_silent(
    apps: Mapping[str, Sequence[str]],
    results: Mapping[str, Mapping[str, Any]],
    called_off: Collection[str],
    phase: str,
) -> list[Hold]:
    """The hosts that did not come to the end of *phase* of an app that is called off: nobody knows what they have live."""
    silent = {
        app: [host for host in hosts if is_silent(results[host], app, phase)]
        for app, hosts in apps.items()
        if app in called_off
    }
    # Some host has to answer, whatever it has live.
    return [
        {"app": app, "host": host, "held": True}
        for app, hosts in silent.items()
        if len(hosts) < len(apps[app])
        for host in hosts
    ]


def is_silent(result: Mapping[str, Any], app: str, phase: str) -> bool:
    """Whether a host gave no answer of *app* in *phase*."""
    outcome = (result.get("apps") or {}).get(app) or {}
    if outcome.get("action") in ("none", "held"):
        return False
    return "stopped" in result or not (phase in result.get("phases", ()) or phase in outcome.get("done", ()))


def of_left_out(
    everywhere: Mapping[str, Sequence[str]], going: Collection[str], without: Collection[str]
) -> list[Hold]:
    """The hosts *without* which the apps *going* get a new release. *everywhere* names all hosts of each app."""
    return [
        {"app": app, "host": host, "held": True}
        for app, hosts in everywhere.items()
        if app in going
        for host in hosts
        if host in without
    ]


def at_end(
    everywhere: Mapping[str, Sequence[str]],
    results: Mapping[str, Mapping[str, Any]],
    without: Collection[str],
) -> Iterator[Hold]:
    """What balancers are told at the end of a run.

    The hosts of an app are let in again where all of them answered, and agree: a run with --limit lets nobody in. A host
    that did not go back, or gave no answer, when its app was called off is held out.
    """
    for app, hosts in everywhere.items():
        named = [host for host in hosts if host not in without]
        outcomes = {host: (results.get(host, {}).get("apps") or {}).get(app) or {} for host in named}
        known = {host: one for host, one in outcomes.items() if one.get("live") and not is_cut_off(one)}
        if known and len(known) == len(named) and are_same(known.values()):
            yield from (Hold(app=app, host=host, held=False) for host in named)
            continue
        left = [host for host, one in known.items() if is_not_undone(one)]
        if len(left) < len(known) and not are_same(known.values()):
            yield from (Hold(app=app, host=host, held=True) for host in left)
        if any(one.get("phase") == "call_off" for one in known.values()):
            yield from (Hold(app=app, host=host, held=True) for host in named if is_cut_off(outcomes[host]))


def are_same(outcomes: Collection[Mapping[str, Any]]) -> bool:
    """Whether hosts have the same release live: one of the same name, else of the same commit."""
    names, commits = ({one.get(key) for one in outcomes} for key in ("live", "live_revision"))
    return len(names) == 1 or (len(commits) == 1 and None not in commits)


def is_not_undone(outcome: Mapping[str, Any]) -> bool:
    """Whether a release is live that was to be taken back."""
    return bool(outcome.get("error")) and outcome.get("release") == outcome["live"]


def to_share(results: Collection[Mapping[str, Any]], told: Collection[Mapping[str, Any]]) -> list[Hold]:
    """What some of the balancers hold out and others do not, as they did not answer when they were told.

    *results* are those of module balancer. What they were *told* just now is not changed.
    """
    held = [
        {(one["app"], one["host"]) for one in said["held"]}
        for said in results
        if said.get("held") is not None and not said.get("failed") and not said.get("unreachable")
    ]
    missing = (
        set[tuple[str, str]]().union(*held) - set[tuple[str, str]].intersection(*held) if held else set()
    )
    missing -= {(one["app"], one["host"]) for one in told}
    return [{"app": app, "host": host, "held": True} for app, host in sorted(missing)]


def is_cut_off(outcome: Mapping[str, Any]) -> bool:
    """Whether a deploy was begun on the host and has no end, good or bad."""
    wanted = outcome.get("action") in ("deploy", "finish") or "from" in outcome
    return wanted and not outcome.get("error") and "seconds" not in outcome
