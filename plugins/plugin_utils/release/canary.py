"""Which hosts of an app switch first, and what becomes of the others by what balancers count of those.

Pure functions; tasks/canary.yml of role python_apps looks at the balancers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from math import ceil
from typing import Any, TypedDict

from ...module_utils.balancer.running import COUNTERS, up
from ..balancer import states

#: Of the answers that a host gave.
ANSWERS = ("hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx")
#: What is no good answer: one that says so, one that broke off, and a connection that the host did not take.
ERRORS = ("hrsp_5xx", "eresp", "econ")

#: How often the balancers are asked while the hosts are watched; vars/main.yml of role python_apps has the same number.
LOOKS = 10


class Settings(TypedDict):
    """`fleet.canary` of an app."""

    hosts: int
    seconds: int
    requests: int
    errors: str


class Canary(TypedDict):
    """The hosts of an app that go first, and how they are judged."""

    hosts: list[str]
    seconds: int
    requests: int
    errors: str


class Counted(TypedDict):
    requests: int
    errors: int


class Watched(TypedDict, total=False):
    """What is known of the hosts that went first."""

    #: When the watching began, in seconds of the clock.
    began: float
    #: By balancer, what it said last.
    last: dict[str, dict[str, Any]]
    counts: dict[str, Counted]
    #: Apps that are still watched.
    open: list[str]
    #: Why an app does not go on; empty where it does.
    reasons: dict[str, str]


def first_hosts(
    actions: Mapping[str, str | None], wanted: int, serving: Collection[str] | None = None
) -> list[str]:
    """The hosts that switch first, of those with something to do, in the order of the inventory.

    *actions* is what each host has to do. One host at least comes later, or there is nobody to be kept from a bad release.
    Hosts that get no requests, as they are not among the *serving*, come first only where nobody else is left.
    """
    going = [host for host, action in actions.items() if action in ("deploy", "finish")]
    # A run that was killed had switched them.
    switched = [host for host in going if actions[host] == "finish"]
    others = [host for host in going if host not in switched]
    # False comes before True.
    order = switched + sorted(others, key=lambda host: serving is not None and host not in serving)
    if len(switched) == len(going):
        return []
    return order[: min(max(wanted, len(switched)), len(going) - 1)]


def serving(app: str, results: Iterable[Mapping[str, Any]]) -> set[str] | None:
    """The hosts to which some balancer sends requests for *app*; None where no balancer answers."""
    said = states.said(results)
    if not said:
        return None
    return {host for _, apps in said for host, server in apps.get(app, {}).items() if up(server)}


def watch(
    canaries: Mapping[str, Canary], before: Watched, results: Iterable[Mapping[str, Any]], now: float
) -> Watched:
    """What is known after one more look at the balancers: *results* are those of module balancer, one for each of them."""
    last = dict(before.get("last") or {})
    counts: dict[str, Counted] = {
        app: {**(before.get("counts") or {}).get(app, {"requests": 0, "errors": 0})} for app in canaries
    }
    for one in results:
        if not one.get("process") or one.get("failed") or one.get("unreachable"):
            continue
        name = str(one.get("__balancer", ""))
        # One that was not asked before may have counted for days.
        earlier = last.get(name)
        servers = {app: one["servers"].get(app) or {} for app in canaries}
        last[name] = {"process": one["process"], "servers": servers}
        if earlier is None:
            continue
        for app, canary in canaries.items():
            for host in canary["hosts"]:
                found = _since(earlier, last[name], app, host)
                counts[app]["requests"] += _sum(found, (*ANSWERS, "eresp", "econ"))
                counts[app]["errors"] += _sum(found, ERRORS)
    began = before.get("began", now)
    reasons = dict(before.get("reasons") or {})
    for app in before.get("open", list(canaries)):
        said = decide(canaries[app], counts[app], now - began)
        if said is not None:
            reasons[app] = said
    return {
        "began": began,
        "last": last,
        "counts": counts,
        "open": [app for app in canaries if app not in reasons],
        "reasons": reasons,
    }


def decide(canary: Canary, counts: Counted, seconds: float) -> str | None:
    """Why the app is called off; empty where it goes on; None where nobody knows yet, after so many *seconds*."""
    requests, errors = counts["requests"], counts["errors"]
    hosts = ", ".join(canary["hosts"])
    allowed = share(canary["errors"])
    # As soon as good answers to all requests that are wanted could not make up for them.
    if errors > allowed * max(requests, canary["requests"]):
        return f"canary {hosts}: {errors} of {requests} requests failed; fleet.canary.errors allows {canary['errors']}"
    if seconds < canary["seconds"]:
        return None
    if requests < canary["requests"]:
        return (
            f"canary {hosts}: {requests} requests in {canary['seconds']} s are too few to judge it by; "
            f"fleet.canary.requests wants {canary['requests']}"
        )
    return ""


def share(text: str) -> Fraction:
    """The part of all that *text* names, such as `0.5%`."""
    return Fraction(text.removesuffix("%")) / 100


def pause(canaries: Mapping[str, Canary]) -> int:
    """Seconds between two looks at the balancers."""
    return ceil(max((canary["seconds"] for canary in canaries.values()), default=0) / LOOKS)


def told(canaries: Mapping[str, Canary], watched: Watched) -> Iterator[str]:
    """A line for each app: what its first hosts did."""
    for app, canary in canaries.items():
        counts = watched["counts"][app]
        result = "called off" if watched["reasons"].get(app) else "the other hosts follow"
        yield (
            f"{app}: canary {', '.join(canary['hosts'])}: {counts['requests']} requests, {counts['errors']} failed: {result}"
        )


def _since(earlier: Mapping[str, Any], later: Mapping[str, Any], app: str, host: str) -> dict[str, int]:
    """What a balancer counted of *host* between two answers. A process that was not there then began to count at 0."""
    new = later["servers"][app].get(host) or {}
    old = (earlier["servers"].get(app) or {}).get(host) or {}
    if earlier["process"] != later["process"]:
        old = {}
    return {name: max(int(new.get(name, 0)) - int(old.get(name, 0)), 0) for name in COUNTERS}


def _sum(counts: Mapping[str, int], names: Sequence[str]) -> int:
    return sum(counts[name] for name in names)
