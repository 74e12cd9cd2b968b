"""A failure is said once, by the task that ends the run for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.project import ROOT

FILES = sorted([*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/*.yml")])


def tasks(of: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in of:
        yield one
        for part in ("tasks", "pre_tasks", "post_tasks", "block", "rescue", "always"):
            yield from tasks(one.get(part) or [])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_task_shows_a_failure_that_the_run_goes_on_after(path: Path) -> None:
    """`ignore_errors` prints `fatal: …` and `...ignoring`, and what comes of it is said once more at the end.

    Only with `run_once` it is needed: Ansible ends the play for all hosts when such a task finds a machine unreachable,
    whatever `ignore_unreachable` says.
    """
    for one in tasks(yaml.safe_load(path.read_text()) or []):
        needed = bool(one.get("run_once") and one.get("ignore_unreachable"))
        assert ("ignore_errors" in one) is needed, one.get("name")


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("roles/python_apps/tasks/*.yml")), ids=lambda path: path.stem
)
def test_a_phase_fails_only_where_it_did_not_run(path: Path) -> None:
    for one in tasks(yaml.safe_load(path.read_text()) or []):
        if "emperor.stack.release" in one and one["emperor.stack.release"]["phase"] != "status":
            assert one["failed_when"] == f"{one['register']}.apps is not defined", one["name"]
