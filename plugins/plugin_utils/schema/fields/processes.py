"""The fields of workers, of scheduled commands and of hooks."""

from __future__ import annotations

from ....module_utils.systemd.unit_names import LONGEST_STOP
from ..kinds import Choice, Field, Flag, ListOf, Number, Section, Text
from ..rules import calendar, processes
from .texts import COMMAND

#: In the order in which a deploy passes them.
HOOKS = (
    ("before_prepare", "when code and venv exist, before `build`"),
    ("after_prepare", "after code, venv, build and configuration of the release are ready"),
    (
        "setup",
        "before the release is loaded for its check, only on a host where the app has no live release yet",
    ),
    ("before_migrate", "before `migrate`"),
    ("after_migrate", "after `migrate`"),
    ("before_start", "before the new activation starts beside the live one"),
    ("after_start", "after the new activation answered its health checks; no visitor sees it yet"),
    ("before_switch", "right before visitors move to the new activation"),
    ("after_switch", "after visitors moved and nginx's answers were checked"),
    ("before_drain", "before the old activation is drained"),
    ("after_drain", "after the old activation has no requests any more; it may be kept warm"),
)

PROCESS_NAME = Text(
    processes.process_name, "lowercase letters, digits and hyphens, starting with a letter", "jobs"
)

ON = Choice(("first", "each"))

WORKER = Section(
    (
        Field(
            "command",
            COMMAND,
            "Command to run in the release's code with the venv's programs on PATH. It is restarted whenever it"
            " ends.",
            "command: celery --app blog worker",
            required=True,
        ),
        Field("count", Number(1, 64), "Number of copies that run side by side.", "count: 2", default=1),
        Field(
            "stop_signal",
            Choice(("TERM", "INT", "QUIT", "HUP", "USR1", "USR2")),
            "Signal that tells the worker to finish its work and end.",
            "stop_signal: INT",
            default="TERM",
        ),
        Field(
            "stop_timeout",
            Number(1, LONGEST_STOP, "seconds"),
            "How long the worker may take to end before it is killed.",
            "stop_timeout: 60",
            default=60,
        ),
        Field(
            "overlap",
            Flag(),
            "Whether workers of the old and the new release may run side by side during a deploy. With false, "
            "the new worker starts right after the switch, when the old one has ended.",
            "overlap: false",
            default=True,
        ),
        Field(
            "run_on",
            ON,
            "Where the worker runs when the app is on several hosts: on `each`, or on the `first` one of the inventory, as "
            "a scheduler must of which there may be one alone.",
            "run_on: first",
            default="each",
        ),
    )
)

SCHEDULED = Section(
    (
        Field(
            "command",
            COMMAND,
            "Command to run in the release's code with the venv's programs on PATH; never twice at once.",
            "command: python -m blog.report",
            required=True,
        ),
        Field(
            "at",
            Text(calendar.calendar, "time, or calendar expression of systemd", "03:00"),
            "Time of day, or a calendar event as in `man systemd.time`, optionally followed by a time zone. "
            "Quote it.",
            'at: "Mon..Fri 03:00 Europe/Berlin"',
        ),
        Field(
            "every",
            Text(processes.span, "number with s, m, h or d", "15m"),
            "Interval between two starts; the first start comes one interval after a boot or the first deploy.",
            "every: 15m",
        ),
        Field(
            "missed",
            Choice(("run", "skip")),
            "What happens when the host was off at a time of `at`: `run` (the default) runs the command once "
            "after the boot, `skip` does not.",
            "missed: skip",
        ),
        Field(
            "timeout",
            Number(1, 604800, "seconds"),
            "How long the command may run before it is ended.",
            "timeout: 3600",
            default=3600,
        ),
        Field(
            "run_on",
            ON,
            "Where the command runs when the app is on several hosts: on `each`, or on the `first` one of the inventory.",
            "run_on: first",
            default="each",
        ),
    ),
    exactly_one_of=("at", "every"),
)

HOOKS_OF_A_DEPLOY = Section(
    tuple(
        Field(
            name,
            ListOf(COMMAND),
            f"Commands {when}.",
            f"{name}: [./bin/notify {name}]",
            default=(),
        )
        for name, when in HOOKS
    )
)
