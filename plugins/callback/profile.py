"""Where a run's time went, per role and task, and how often it went to the hosts for it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: profile
type: aggregate
short_description: Print where a run's time went, per role and task, with the round trips
description:
  - At the end of a run it prints the seconds of each role and of each task, sorted, with their part of the whole, and how
    many commands and transfers each sent to the hosts.
  - C(ansible.posix.profile_tasks) knows no round trips, and they are what a run over a network waits for.
  - C(make profile) turns it on.
requirements:
  - Turn it on by C(ANSIBLE_CALLBACKS_ENABLED=emperor.stack.profile).
author: ["Emperor Stack maintainers (!UNKNOWN)"]
"""

import os  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections import Counter  # noqa: E402
from collections.abc import Callable, Iterable  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from functools import wraps  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from ansible.plugins.action import ActionBase  # noqa: E402
from ansible.plugins.callback import CallbackBase  # noqa: E402

#: What the actions of all modules go to the host by. One call is one exchange with it.
EXCHANGES = ("_low_level_execute_command", "_transfer_file")


@dataclass
class Row:
    """One task of the run, all hosts together."""

    role: str
    name: str
    seconds: float = 0
    #: Whether any host did it, and not all of them passed it over.
    done: bool = False
    trips: int = 0


def started() -> float:
    """When this process began, by the clock of `time.monotonic`; now, where the kernel does not say."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        running = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        return time.monotonic() - (running - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError):
        return time.monotonic()


def counting(function: Callable[..., Any], record: Callable[[str], None]) -> Callable[..., Any]:
    """*function*, a method of an action, with each call recorded by the id of its task."""

    @wraps(function)
    def counted(self: ActionBase, *arguments: Any, **more: Any) -> Any:
        record(self._task._uuid)
        return function(self, *arguments, **more)

    return counted


def by_role(rows: Iterable[Row]) -> list[Row]:
    found: dict[str, Row] = {}
    for row in rows:
        whole = found.setdefault(row.role, Row(row.role, row.role, done=True))
        whole.seconds += row.seconds
        whole.trips += row.trips
    return list(found.values())


def table(rows: Iterable[Row], total: float) -> list[str]:
    """One line per row, the longest first: seconds, part of the *total*, round trips, name."""
    return [
        f"{row.seconds:7.2f} s {100 * row.seconds / (total or 1):4.0f} % {row.trips:4} "
        f"{row.name}{'' if row.done else ' (skipped)'}"
        for row in sorted(rows, key=lambda row: row.seconds, reverse=True)
    ]


def summary(rows: Iterable[Row], total: float) -> str:
    """The counts in one line, for tests and benches to read."""
    rows = list(rows)
    tasks, skipped = sum(row.done for row in rows), sum(not row.done for row in rows)
    trips = sum(row.trips for row in rows)
    return f"profile: {total:.2f} seconds, {tasks} tasks, {skipped} skipped, {trips} round trips"


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "emperor.stack.profile"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.began = self.last = started()
        self.rows: dict[str, Row] = {}
        self.current = Row("(start)", "(start: programs, inventory, playbooks)", done=True)
        self.rows["start"] = self.current
        # Tasks run in forks of this process: they tell of their exchanges by lines of a file.
        descriptor, path = tempfile.mkstemp(prefix="emperor-stack-profile-")
        os.close(descriptor)
        self.trips = Path(path)
        for name in EXCHANGES:
            setattr(ActionBase, name, counting(getattr(ActionBase, name), self.record))

    def record(self, task: str) -> None:
        # One short line in one write: forks do not tear each other's.
        with self.trips.open("a", encoding="ascii") as file:
            file.write(f"{task}\n")

    def turn_to(self, row: Row) -> None:
        now = time.monotonic()
        self.current.seconds += now - self.last
        self.last, self.current = now, row

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        role = task._role.get_name() if task._role else "(playbook)"
        self.turn_to(self.rows.setdefault(task._uuid, Row(role, task.get_name())))

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self.v2_playbook_on_task_start(task, False)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self.turn_to(
            self.rows.setdefault(play._uuid, Row("(plays)", f"(play: {play.get_name()})", done=True))
        )

    def done(self, result: Any, *_: Any, **__: Any) -> None:
        if (row := self.rows.get(result._task._uuid)) is not None:
            row.done = True

    v2_runner_on_ok = v2_runner_on_failed = v2_runner_on_unreachable = done

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self.turn_to(self.current)
        trips = Counter(self.trips.read_text(encoding="ascii").split())
        self.trips.unlink()
        for task, count in trips.items():
            self.rows.setdefault(task, Row("(other)", task, done=True)).trips += count
        rows, total = list(self.rows.values()), self.last - self.began
        tasks = [row for row in rows if row.role not in ("(start)", "(plays)")]
        self._display.banner("PROFILE: seconds, part of all, round trips")
        for line in (*table(by_role(rows), total), "", *table(rows, total), "", summary(tasks, total)):
            self._display.display(line)
