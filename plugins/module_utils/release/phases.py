"""The phases of a release: the only place that says which there are, in which order, and how each is run.

The module `release` and its action read this table; the tasks of role python_apps do by the filter `exchanges`. With a host
that waits for no other, all phases are one exchange; over several hosts each is a task of its own, which ends on every host
before the next one begins. docs/development.md tells how to add a phase.
"""

from __future__ import annotations

import select
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore, Event
from typing import Any, cast

from . import failure
from .call_off import call_off
from .choose import choose
from .confirm import confirm
from .deploy import drain, migrate, start, switch
from .leading import stand_down, take_over
from .lifecycle import url_of
from .lock import Locked
from .options import Options, Outcome
from .phase import DEPLOY, LEAD, RESOLVE, ROLLBACK, Phase, Told, by_lock, by_spec
from .plan import plan
from .prepare import prepare
from .resolve import resolve
from .rollback import rollback
from .spec import ReleaseSpec
from .state import AppState
from .status import status

#: In the order in which an app goes through those of a deploy, or of a rollback.
TABLE: tuple[Phase, ...] = (
    Phase(
        "plan",
        "Compare every app with its live release",
        by_spec(plan),
        part_of=(DEPLOY,),
        told=Told.PLAN,
        apps_at_once=8,
    ),
    Phase(
        "prepare",
        "Prepare the new releases",
        by_spec(prepare),
        part_of=(DEPLOY,),
        told=Told.RELEASE,
        # A build is a mix of network, disk and one core.
        apps_at_once=2,
        leads_to_switch=True,
    ),
    Phase(
        "migrate",
        "Migrate the databases",
        by_lock(migrate),
        part_of=(DEPLOY,),
        # Two hosts at once would race in a shared database.
        hosts_at_once=1,
        leads_to_switch=True,
    ),
    Phase(
        "choose",
        "Ask every host which releases it can return to",
        by_spec(choose),
        part_of=(ROLLBACK,),
        apps_at_once=8,
        leads_to_switch=True,
        several_hosts=True,
    ),
    Phase(
        "rollback",
        "Choose the release to return to, and switch where it is warm",
        by_spec(rollback),
        part_of=(ROLLBACK,),
        leads_to_switch=True,
    ),
    Phase(
        "start",
        "Start the new activations beside the live ones, and probe them",
        by_lock(start),
        part_of=(DEPLOY, ROLLBACK),
        apps_at_once=4,
        leads_to_switch=True,
    ),
    Phase(
        "canary",
        "Switch the hosts that go first",
        by_lock(switch),
        part_of=(DEPLOY,),
        leads_to_switch=True,
        several_hosts=True,
        canary=True,
    ),
    Phase(
        "switch",
        "Switch traffic to the new activations",
        by_lock(switch),
        part_of=(DEPLOY, ROLLBACK),
        leads_to_switch=True,
    ),
    Phase(
        "confirm",
        "Confirm the switch on all hosts",
        by_spec(confirm),
        part_of=(DEPLOY, ROLLBACK),
        apps_at_once=8,
        leads_to_switch=True,
        several_hosts=True,
    ),
    Phase(
        "drain",
        "Drain the old activations, and clean up",
        by_lock(drain),
        part_of=(DEPLOY, ROLLBACK),
        apps_at_once=4,
    ),
    Phase(
        "stand_down",
        "End what another host runs from now on",
        by_spec(stand_down),
        part_of=(LEAD,),
        apps_at_once=4,
    ),
    Phase(
        "take_over",
        "Begin what this host runs from now on",
        by_spec(take_over),
        part_of=(LEAD,),
        apps_at_once=4,
    ),
    Phase(
        "resolve",
        "Ask for the commit of each version once",
        by_spec(resolve),
        part_of=(RESOLVE,),
        told=Told.PLAN,
        apps_at_once=8,
        several_hosts=True,
    ),
    Phase("call_off", "Undo what another host could not do", by_spec(call_off), apps_at_once=4),
    Phase("status", "Read the state of the apps", by_spec(status), apps_at_once=4),
)

PHASES: Mapping[str, Phase] = {phase.name: phase for phase in TABLE}


def phases_of(kind: str, alone: bool = False, canary: bool = False) -> list[str]:
    """The names of the phases of a deploy or of a rollback, in order; those of a host that is *alone*, or all.

    *canary*: also those in which some hosts go first. Raises ValueError for any other *kind*.
    """
    found = [
        phase.name
        for phase in TABLE
        if kind in phase.part_of and not (alone and phase.several_hosts) and (canary or not phase.canary)
    ]
    if not found:
        raise ValueError(f"{kind} has no phases; {DEPLOY} and {ROLLBACK} have")
    return found


def exchanges(kind: str, alone: bool, done: Sequence[str] = (), canary: bool = False) -> list[dict[str, Any]]:
    """How the phases of *kind* that are not *done* are run: one exchange with a host that is *alone*, else one for each.

    `phase` and `then` are the options of module `release`. `first` says that no phase comes before, `makes_releases` that
    secrets are wanted; `hosts_at_once` is as in the table. After an exchange that is a `barrier`, an app goes on where it
    passed on all of its hosts. *canary* says that some hosts of an app go first.
    """
    names = phases_of(kind, alone, canary)
    left = [PHASES[name] for name in names if name not in done]
    groups = [left] if alone and left else [[phase] for phase in left]
    return [
        {
            "phase": group[0].name,
            "then": [phase.name for phase in group[1:]],
            "title": _title(group),
            "first": group[0].name == names[0],
            "makes_releases": any(phase.told is Told.RELEASE for phase in group),
            # A host that is alone has nobody to be kept from, and nobody to stop.
            "hosts_at_once": 0 if alone else group[0].hosts_at_once,
            "barrier": not alone and group[0].leads_to_switch,
        }
        for group in groups
    ]


def _title(group: Sequence[Phase]) -> str:
    """The name of the task that runs *group*."""
    if len(group) == 1:
        return group[0].does
    return f"Go through {', '.join(phase.name for phase in group)}"


def run_phase(name: str, specs: Sequence[ReleaseSpec], options: Options) -> dict[str, Outcome]:
    """Take all apps through phase *name*, each failure kept to its app."""
    phase = PHASES[name]
    with ThreadPoolExecutor(max_workers=phase.apps_at_once) as pool:
        outcomes = pool.map(lambda spec: _contained(phase, spec, options), specs)
        return {spec["name"]: outcome for spec, outcome in zip(specs, outcomes, strict=True)}


def _contained(phase: Phase, spec: ReleaseSpec, options: Options) -> Outcome:
    if "refused" in spec:
        # The controller cannot read its source.
        return {"error": spec["refused"]}
    try:
        with options.steps.of(spec["name"], phase.name):
            outcome = phase.work(phase.name, spec, options)
            switch_now = outcome.pop("switch_now", False)
            return _switched_now(phase, spec, options, outcome) if switch_now else outcome
    except Locked as error:
        return {"error": str(error), "locked": error.holder.content()}
    except Exception as error:
        return {"error": failure.described(spec["name"], error)}


def _switched_now(phase: Phase, spec: ReleaseSpec, options: Options, outcome: Outcome) -> Outcome:
    """Take an app on from *phase* of a rollback to its switch, and wait for no other app or host.

    `done` of the outcome names the phases that it therefore does not go through again.
    """
    following = [PHASES[name] for name in phases_of(ROLLBACK)]
    following = following[following.index(phase) + 1 :]
    following = [one for one in following if one.leads_to_switch and not one.several_hosts]
    for one in following:
        options.steps.begin(spec["name"], one.name)
        done = one.work(one.name, spec, options)
        if done.get("error"):
            return done
        if "activation" in done:
            outcome["activation"] = done["activation"]
        if "milliseconds" in done:
            outcome["milliseconds"] = done["milliseconds"]
    return {**outcome, "done": [one.name for one in following]}


def somebody_waits() -> bool:
    """Whether whoever started this program still reads what it prints."""
    watched = select.poll()
    watched.register(1, 0)
    return not any(events & (select.POLLERR | select.POLLHUP) for _, events in watched.poll(0))


def in_turn(names: Sequence[str], specs: Sequence[ReleaseSpec], options: Options) -> dict[str, Outcome]:
    """The phases *names* for each app, up to the first that it fails. An app's outcome is that of all of them, with what
    serves then. No app waits for another, but where a phase has as many as may be in it at once: one whose build takes long
    holds up none that is ready.

    Where nobody waits any more, such as after a Ctrl-C here or at the controller, no phase is begun that leads to a switch;
    the lock tells the next run what is left.
    """
    gates = {name: BoundedSemaphore(PHASES[name].apps_at_once) for name in names}
    interrupted = Event()
    # A thread for each app: one that waits before a gate must not keep others from those that are open.
    with ThreadPoolExecutor(max_workers=max(len(specs), 1)) as pool:
        try:
            each = pool.map(lambda spec: _through(gates, spec, options, interrupted), specs)
            outcomes = {spec["name"]: outcome for spec, outcome in zip(specs, each, strict=True)}
        except BaseException:
            # Of a person at this host. The end of the block waits for the phases that run.
            interrupted.set()
            raise
    if names == ["status"]:
        return outcomes
    return {app: {**one, **serving(app, options)} for app, one in outcomes.items()}


def _through(
    gates: Mapping[str, BoundedSemaphore], spec: ReleaseSpec, options: Options, interrupted: Event
) -> Outcome:
    """Take one app through the phases that *gates* name, each once its gate lets it in."""
    outcomes: dict[str, Outcome] = {}
    for name, gate in gates.items():
        phase = PHASES[name]
        if name in spec.get("done", ()):
            continue
        with gate:
            if phase.leads_to_switch and (interrupted.is_set() or (outcomes and not somebody_waits())):
                break
            found = _contained(phase, spec, options)
        outcomes = together(outcomes, {spec["name"]: found})
        further = going_on([spec], outcomes)
        if not further:
            break
        spec = cast(ReleaseSpec, further[0])
    return outcomes.get(spec["name"], {})


def serving(app: str, options: Options) -> Outcome:
    """What serves now, and where: the live release of *app* and its version, None where nothing is live."""
    state = AppState(app)
    live = state.live_release()
    manifest = state.manifest(live) if live else None
    if manifest is None:
        return {"live": live, "version": None, "leads": state.leads()}
    found: Outcome = {"live": live, "version": manifest.version, "live_revision": manifest.revision}
    return {**found, "leads": state.leads(), "url": url_of(manifest, options.http_port)}


def together(before: Mapping[str, Outcome], after: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """The outcomes of apps in phases one after the other, as one for each app."""
    outcomes = dict(before)
    for app, one in after.items():
        earlier = before.get(app, {})
        outcomes[app] = {**earlier, **one}
        if "changed" in earlier or "changed" in one:
            outcomes[app]["changed"] = bool(earlier.get("changed") or one.get("changed"))
        if warnings := [*earlier.get("warnings", []), *one.get("warnings", [])]:
            outcomes[app]["warnings"] = list(dict.fromkeys(warnings))
    return outcomes


#: What the phases before say of an app that those after have to know.
HANDED_ON = ("action", "revision", "done")


def going_on(apps: Sequence[Mapping[str, Any]], outcomes: Mapping[str, Outcome]) -> list[dict[str, Any]]:
    """Those of *apps* that go on after phases with these *outcomes*, each with what the next phases have to know.

    An app does not that failed, or that a plan wants neither to deploy nor to finish.
    """
    found = []
    for app in apps:
        outcome: Outcome = outcomes.get(app["name"], {"error": "it was in no phase"})
        said: Mapping[str, object] = outcome
        wanted = "action" not in outcome or (
            outcome["action"] in ("deploy", "finish") and "revision" in outcome
        )
        if wanted and not outcome.get("error"):
            found.append({**app, **{key: said[key] for key in HANDED_ON if key in said}})
    return found
