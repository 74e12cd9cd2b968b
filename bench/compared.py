"""What the parts that measure other platforms found, as figures and as pages of bench/report. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

from . import stats
from .report import number, shown, table
from .stats import Spread

WAYS = {
    "push": "`git push` to the platform",
    "command": "this bundle: `emperor deploy` on the host, by SSH",
    "playbook": "this bundle: `playbooks/deploy.yml`",
}


def push_figures(part: Mapping[str, Any]) -> dict[str, float | Spread]:
    found: dict[str, float | Spread] = {}
    for way in ("command", "playbook"):
        for kind, name in (("returned", ""), ("answered", "_answered"), ("spent", "_processor")):
            values = part[kind]
            found[f"deploy_{way}_ratio_push{name}"] = stats.ratio(values[way], values["push"])
    found["deploy_push_seconds"] = statistics.median(part["returned"]["push"])
    return found


def push_page(part: Mapping[str, Any], conditions: str) -> str:
    rows = [
        [
            label,
            *(shown(stats.spread(part[kind][way])) for kind in ("answered", "returned", "spent")),
            "" if way == "push" else shown(stats.ratio(part["returned"][way], part["returned"]["push"])),
        ]
        for way, label in WAYS.items()
    ]
    steps = {step: [took.get(step, 0.0) for took in part["took"]] for took in part["took"] for step in took}
    spent = ", ".join(f"{step} {number(statistics.median(values))}" for step, values in steps.items())
    return "\n".join(
        [
            "## A deploy beside a push",
            "",
            conditions,
            "",
            f"One line of the Django example, to two hosts in interleaved rounds; the platform is {part['peer']}. It "
            "changes the code in place, with one user for all apps, without a probe and without a way back. Processor "
            "seconds are the host's and those of the program here.",
            "",
            table(
                [
                    "way",
                    "seconds until the line answers",
                    "… and the command is back",
                    "processor seconds",
                    "of the push",
                ],
                rows,
            ),
            "",
            f"Seconds of the steps of `emperor deploy`: {spent}.",
        ]
    )


#: Ways of part `peers` that are no deploy of ours.
OTHERS = ("push", "releases", "supervised")
#: Rows of its table: what is compared, and how it reads.
SERVED = {
    "django": "Django",
    "flask": "Flask",
    "hello": "hello",
    "static_small": "a file of 2.4 kB",
}
LOST = {
    "good_hello": "a good release of hello, at 100 requests a second",
    "good_django": "a good release of Django, at 50",
    "syntax_error": "a release of Django with a syntax error, at 50",
}
MEMORY = {"base": "no app", "one": "one idle Django", "ten": "ten idle Django apps"}

#: What this bundle aims at, by figure: the limit, and whether a figure may be at least or at most that.
AIMS = {
    "deploy_command_ratio_push": (1.0, "at most"),
    "deploy_playbook_ratio_push": (1.3, "at most"),
    "static_small_ratio_bare": (0.95, "at least"),
    "served_ratio_hello_peer": (1.0, "at least"),
    "served_ratio_flask_best": (0.97, "at least"),
    "served_ratio_django_best": (0.97, "at least"),
    "served_ratio_hello_best": (0.9, "at least"),
    "first_converge_ratio": (1.3, "at most"),
    "base_mib": (24.0, "at most"),
}


def aims_page(figures: Mapping[str, float | Spread]) -> str:
    """The aims of which there is a figure, and whether they are met."""
    rows = []
    for name, (limit, kind) in AIMS.items():
        if name in figures:
            value = figures[name]
            middle = value.median if isinstance(value, Spread) else value
            met = middle >= limit if kind == "at least" else middle <= limit
            text = shown(value) if isinstance(value, Spread) else number(value)
            rows.append([f"`{name}`", text, f"{kind} {number(limit)}", "yes" if met else "no"])
    if not rows:
        return ""
    return "\n".join(["## Aims", "", table(["figure", "median (quartiles)", "aim", "met"], rows)])


def best(rates: Mapping[str, list[float]], choose: Callable[[list[float]], float]) -> list[float]:
    """The best of the others, round by round."""
    return [choose(list(values)) for values in zip(*(rates[way] for way in OTHERS), strict=True)]


def peers_figures(part: Mapping[str, Any]) -> dict[str, float | Spread]:
    found = push_figures(part["deploys"])
    for page in SERVED:
        rates, spent = part["rate"][page], part["spent"][page]
        found[f"served_ratio_{page}_peer"] = stats.ratio(rates["ours"], best(rates, max))
        found[f"served_processor_ratio_{page}_peer"] = stats.ratio(spent["ours"], best(spent, min))
    for way in OTHERS:
        found[f"first_ratio_{way}"] = stats.ratio(part["first"]["ours"], part["first"][way])
    found["base_mib"] = stats.spread(part["memory"]["base"]["ours"])
    for kind in MEMORY:
        mib = part["memory"][kind]
        found[f"memory_{kind}_ratio_push"] = stats.ratio(mib["ours"], mib["push"])
    for kind, ways in part["lost"].items():
        for way, counts in ways.items():
            found[f"failed_{kind}_{way}"] = sum(counts)
    return found


def peers_page(part: Mapping[str, Any], conditions: str) -> str:
    """Ratios of ours to each of the others, and the requests that each of them failed."""

    def row(label: str, values: Mapping[str, list[float]], ours: str = "ours") -> list[str]:
        ratios = [shown(stats.ratio(values[ours], values[way])) if way in values else "" for way in OTHERS]
        return [label, number(statistics.median(values[ours])), *ratios]

    deploys, memory = part["deploys"], part["memory"]
    rows = [row(f"requests a second: {label}", part["rate"][page]) for page, label in SERVED.items()]
    rows += [
        row(f"µs of processor a request: {label}", part["spent"][page]) for page, label in SERVED.items()
    ]
    for ours, label in (("command", "`emperor deploy`"), ("playbook", "`playbooks/deploy.yml`")):
        rows.append(row(f"seconds until a line of Django answers, {label}", deploys["answered"], ours))
        rows.append(row(f"processor seconds of that, {label}", deploys["spent"], ours))
    rows.append(row("seconds until Django answers on a fresh host", part["first"]))
    rows.append(row("seconds of a run without a change", part["again"]))
    rows += [row(f"MiB of a host: {label}", memory[kind]) for kind, label in MEMORY.items()]
    lost = [
        [
            label,
            *(
                " ".join(
                    f"{count}{'' if up else ' down'}"
                    for count, up in zip(part["lost"][kind][way], part["answers"][kind][way], strict=True)
                )
                for way in ("ours", *OTHERS)
            ),
        ]
        for kind, label in LOST.items()
    ]
    others = [part["labels"][way] for way in OTHERS]
    return "\n".join(
        [
            "## Beside other ways to have apps on a host",
            "",
            conditions,
            "",
            "A host for each, reached by SSH; the same apps, two processes of two threads, interleaved rounds. The others "
            "are written by hand after known ones, which are not in the registries of packages (bench/peers). They have "
            "one user for all apps, no probe and no limits; those with a playbook deploy anew in each run. A ratio is ours "
            "over theirs, round by round. Memory is PSS of all processes, read three times.",
            "",
            table(["", "this bundle", *others], rows),
            "",
            "Requests that failed while a release went live, each round; *down* where the app did not answer afterwards:",
            "",
            table(["", "this bundle", *others], lost),
        ]
    )
