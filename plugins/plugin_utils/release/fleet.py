"""Decide for all hosts of an app together: whether it goes on after a phase, under which name, and who migrates.

Pure functions over the results that hosts gave; tasks/barrier.yml of role python_apps asks after each phase.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypedDict

from ...module_utils.release.state import RELEASE_ID
from .canary import Canary, Settings, first_hosts, serving
from .return_target import NoTarget, target

#: What a host answered: the registered result of module `release`, which covers all phases so far.
Result = Mapping[str, Any]
#: What it says of one app.
Outcome = Mapping[str, Any]

#: The first phases, after which no host has begun anything.
FIRST = ("plan", "choose")


class Wanted(TypedDict, total=False):
    """What a rollback was asked for."""

    release: str
    version: str
    across_migration: bool


class Verdict(TypedDict, total=False):
    """What all hosts of a run are told."""

    #: The hosts of each app, in the order of the inventory.
    apps: dict[str, list[str]]
    #: Apps that do not go on, each with the reason.
    called_off: dict[str, str]
    #: Which commit the wanted version of an app is, where its first host has asked.
    commits: dict[str, str]
    #: The name of each app's new release.
    names: dict[str, str]
    #: The hosts that switch first, of apps that want that.
    canaries: dict[str, Canary]
    #: Apps whose workers and commands of one host stay where they are, as another host may still run them.
    not_moved: list[str]
    #: Of a rollback: the release that each host of an app returns to; None where it stays.
    targets: dict[str, dict[str, str | None]]


def verdict(
    apps: Mapping[str, Sequence[str]],
    results: Mapping[str, Result],
    phase: str,
    now: str,
    wanted: Wanted | None = None,
    canary: Mapping[str, Settings] | None = None,
    watched: Mapping[str, str] | None = None,
    balancers: Sequence[Mapping[str, Any]] | None = None,
) -> Verdict:
    """What becomes of the *apps* after *phase*, by the *results* of their hosts.

    *now* is how a new name begins, *wanted* what a rollback was asked for, *canary* what apps say of hosts that go first,
    and *watched* why they do not go on after those, empty where they do. *balancers* are the results of module balancer.
    """
    wanted = wanted or {}
    found: Verdict = {
        "apps": {app: list(hosts) for app, hosts in apps.items()},
        "called_off": {},
        "names": {},
        "targets": {},
        "canaries": {},
    }
    for app, hosts in apps.items():
        outcomes = {host: outcome_of(results[host], app) for host in hosts}
        if not any(is_going(outcome) for outcome in outcomes.values()):
            continue
        obstacles = [*_obstacles(app, outcomes, results, phase)]
        if phase == "plan" and not obstacles:
            obstacles = [*_different_commits(outcomes)]
        if reason := (watched or {}).get(app):
            obstacles.append(reason)
        if obstacles:
            found["called_off"][app] = "\n".join(obstacles)
        elif phase == "plan":
            found["names"][app] = name(outcomes.values(), now)
            if settings := (canary or {}).get(app):
                actions = {host: outcome.get("action") for host, outcome in outcomes.items()}
                if first := first_hosts(actions, settings["hosts"], serving(app, balancers or ())):
                    found["canaries"][app] = {**settings, "hosts": first}
        elif phase == "choose":
            try:
                found["targets"][app] = _target(outcomes, wanted)
            except NoTarget as error:
                found["called_off"][app] = str(error)
    return found


def _target(outcomes: Mapping[str, Outcome], wanted: Wanted) -> dict[str, str | None]:
    return target(
        {host: outcome["choices"] for host, outcome in outcomes.items()},
        [host for host, outcome in outcomes.items() if outcome.get("unfinished")],
        str(wanted.get("release", "")),
        # YAML takes 1.4 for a number.
        str(wanted.get("version", "")),
        wanted.get("across_migration", False),
    )


def not_moved(apps: Mapping[str, Sequence[str]], results: Mapping[str, Result]) -> list[str]:
    """Apps with a host that is to begin what one host alone runs, while another host has not said that it has ended it."""
    found = []
    for app, hosts in apps.items():
        outcomes = [outcome_of(results[host], app) for host in hosts]
        others = [one for one in outcomes if one.get("lead") != "gain"]
        if len(others) < len(outcomes) and any(one.get("leads") is not False for one in others):
            found.append(app)
    return found


def left_to_nobody(apps: Mapping[str, Sequence[str]], results: Mapping[str, Result]) -> list[str]:
    """Apps with a host that is to end what one host alone runs, while no host runs it afterwards: it stays where it is."""
    found = []
    for app, hosts in apps.items():
        outcomes = [outcome_of(results[host], app) for host in hosts if "stopped" not in results[host]]
        ends = any(one.get("lead") == "lose" for one in outcomes)
        if ends and not any(_begins(one) or (one.get("leads") and not one.get("lead")) for one in outcomes):
            found.append(app)
    return found


def _begins(outcome: Outcome) -> bool:
    """Whether a host can run what one host alone runs, as it is to: a release is live there, and its deploy did not fail."""
    return outcome.get("lead") == "gain" and bool(outcome.get("live")) and not outcome.get("error")


def outcome_of(result: Result, app: str) -> Outcome:
    """What a host said of *app*; empty where it said nothing."""
    said: Outcome = (result.get("apps") or {}).get(app) or {}
    return said


def is_going(outcome: Outcome) -> bool:
    """Whether a host has more to do for an app."""
    return bool(outcome) and not outcome.get("error") and outcome.get("action") not in ("none", "held")


def _obstacles(
    app: str, outcomes: Mapping[str, Outcome], results: Mapping[str, Result], phase: str
) -> Iterator[str]:
    """Why *app* cannot go on on all of its hosts: a line for each that failed."""
    for host, outcome in outcomes.items():
        result = results[host]
        passed = phase in result.get("phases", ()) or phase in outcome.get("done", ())
        if error := outcome.get("error"):
            yield f"{host}: {first_line(error)}"
        elif outcome.get("action") == "held":
            yield f"{host}: {outcome.get('why')}"
        elif outcome.get("action") == "none":
            continue
        elif not result.get("apps"):
            yield f"{host} does not answer: {_silence(result)}"
        elif not outcome:
            yield f"{host}: the app could not be set up there"
        elif "stopped" in result or not passed:
            yield f"{host} did not come to the end of phase {phase}: {_silence(result)}"


def _silence(result: Result) -> str:
    """What is known of a host that gave no answer."""
    said = result.get("stopped") or result.get("msg") or "it is unreachable, or failed earlier in this run"
    return first_line(said)


def first_line(text: object) -> str:
    return next((line for line in str(text).splitlines() if line.strip()), "it gave no reason")


def _different_commits(outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    """A line where hosts resolved the version to different commits: it moved, or their remotes differ."""
    commits: dict[str, str] = {}
    for host, outcome in outcomes.items():
        if commit := outcome.get("revision") or outcome.get("live_revision"):
            commits.setdefault(str(commit), host)
    if len(commits) > 1:
        said = ", ".join(f"{commit[:7]} on {host}" for commit, host in commits.items())
        yield f"its version is not the same commit on all hosts ({said}). Run the playbook again"


def name(outcomes: Collection[Outcome], now: str) -> str:
    """The name of an app's new release: one that some hosts have already, or a new one.

    That is the release that is live where nothing differs, one that a killed run has switched to, or one that is prepared.
    """
    for key, actions in (("live", ("none",)), ("live", ("finish",)), ("ready", ("deploy",))):
        names = {str(one[key]) for one in outcomes if one.get("action") in actions and one.get(key)}
        if len(names) == 1 and is_free(known := names.pop(), outcomes):
            return known
    revision = next((str(one["revision"]) for one in outcomes if one.get("revision")), "0" * 7)
    seconds = calendar.timegm(time.strptime(now, "%Y%m%dT%H%M%S"))
    while True:
        made = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(seconds))}-{revision[:7]}"
        if is_free(made, outcomes) and not any(one.get("live") == made for one in outcomes):
            return made
        seconds += 1


def is_free(release: str, outcomes: Collection[Outcome]) -> bool:
    """Whether a release of this name can be made on each host that deploys."""
    deploying = [one for one in outcomes if one.get("action") == "deploy"]
    return bool(RELEASE_ID.match(release)) and not any(release in one.get("taken", ()) for one in deploying)
