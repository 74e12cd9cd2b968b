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
    return [
        {"app": app, "host": host, "held": True}
        for app, hosts in apps.items()
        if app in called_off
        for host in hosts
        if is_silent(results[host], app, phase)
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


def of_right(
    everywhere: Mapping[str, Sequence[str]],
    results: Mapping[str, Mapping[str, Any]],
    without: Collection[str],
) -> Iterator[Hold]:
    """The hosts that have the release of their apps live at the end of a run, to be let in again.

    That is known only where all other hosts of the app answered, and agree: a run with --limit lets nobody in.
    """
    for app, hosts in everywhere.items():
        named = [host for host in hosts if host not in without]
        outcomes = [(results.get(host, {}).get("apps") or {}).get(app) or {} for host in named]
        if not outcomes or not all(one.get("live") and not is_cut_off(one) for one in outcomes):
            continue
        if len({one["live"] for one in outcomes}) == 1 or (
            all(one.get("live_revision") for one in outcomes)
            and len({one["live_revision"] for one in outcomes}) == 1
        ):
            yield from (Hold(app=app, host=host, held=False) for host in named)


def is_cut_off(outcome: Mapping[str, Any]) -> bool:
    """Whether a deploy was begun on the host and has no end, good or bad."""
    wanted = outcome.get("action") in ("deploy", "finish") or "from" in outcome
    return wanted and not outcome.get("error") and "seconds" not in outcome
