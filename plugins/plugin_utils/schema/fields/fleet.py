"""The fields of how an app is deployed to several hosts."""

from __future__ import annotations

from ..kinds import Field, Number, Section, Text
from ..rules import fleet

CANARY = Section(
    (
        Field(
            "hosts",
            Number(1, 1000),
            "How many hosts switch first. At least one comes later, whatever the number is.",
            "hosts: 1",
            required=True,
        ),
        Field(
            "seconds",
            Number(5, 900, "seconds"),
            "How long the balancers' counters of these hosts are watched.",
            "seconds: 60",
            default=60,
        ),
        Field(
            "requests",
            Number(1, 1000000),
            "How many requests these hosts must have got by then. With fewer, the app is called off.",
            "requests: 100",
            default=100,
        ),
        Field(
            "errors",
            Text(fleet.percentage, "percentage", "1%"),
            "Which part of the requests may fail: answers 5xx, answers that break off, and connections that are refused.",
            'errors: "1%"',
            default="1%",
        ),
    )
)

FLEET = Section(
    (
        Field(
            "canary",
            CANARY,
            "Let some hosts switch first, and the others only when those serve well: "
            "[fleet.md](../fleet.md#let-some-hosts-go-first). Needs balancers in the inventory. Passed over for an app "
            "on one host.",
            'canary: {hosts: 1, seconds: 60, requests: 100, errors: "1%"}',
        ),
    )
)
