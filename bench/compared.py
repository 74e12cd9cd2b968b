"""What the parts that measure other platforms found, as figures and as pages of bench/report. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from . import stats
from .report import number, shown, table

WAYS = {
    "push": "`git push` to the platform",
    "command": "this bundle: `emperor deploy` on the host, by SSH",
    "playbook": "this bundle: `playbooks/deploy.yml`",
}


def push_figures(part: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for way in ("command", "playbook"):
        for kind, name in (("returned", ""), ("answered", "_answered"), ("spent", "_processor")):
            values = part[kind]
            found[f"deploy_{way}_ratio_push{name}"] = stats.ratio(values[way], values["push"]).median
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
