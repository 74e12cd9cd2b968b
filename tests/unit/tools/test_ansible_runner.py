"""The playbooks as a job of ansible-runner, which AWX and others start jobs by; without a container. See docs/runner.md."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import controller
from tools.playbook_server import PROGRAM
from tools.project import ROOT


def job(directory: Path, playbook: str, inventory: Path, *more: str) -> tuple[int, list[dict[str, Any]]]:
    """Run *playbook* as a job; its exit code and events."""
    argv = [str(PROGRAM.with_name("ansible-runner")), "run", str(directory), "--project-dir", str(ROOT)]
    argv += ["--playbook", playbook, "--inventory", str(inventory), "--ident", "job", "--quiet", *more]
    environment = {**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, list(events(directory / "artifacts/job/job_events"))


def events(directory: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(directory.glob("*.json"), key=lambda path: int(path.name.partition("-")[0])):
        yield json.loads(path.read_text())


def test_a_job_checks_an_inventory(tmp_path: Path) -> None:
    inventory = controller.inventory(tmp_path / "inventory", 3, 2, shared=True)
    code, said = job(tmp_path / "job", "playbooks/check.yml", inventory)
    assert code == 0, said
    (done,) = [event["event_data"] for event in said if event["event"] == "playbook_on_stats"]
    assert done["ok"] and not done["failures"]
    checked = [
        event["event_data"]["res"]
        for event in said
        if event["event"] == "runner_on_ok"
        and event["event_data"]["task_action"] == "emperor.stack.check_apps"
    ]
    assert [(result["apps"], result["hosts"]) for result in checked] == [(2, 3)]


def test_a_job_that_fails_says_why_in_its_event(tmp_path: Path) -> None:
    """With the job's own variables, of which AWX adds some, and with extra variables that have no effect."""
    inventory = controller.inventory(tmp_path / "inventory", 1, 1, shared=True)
    variables = json.dumps({"awx_job_id": 7, "front_server": "lighttpd"})
    code, said = job(tmp_path / "job", "playbooks/check.yml", inventory, "--cmdline", f"-e '{variables}'")
    assert code != 0
    (failed,) = [event["event_data"]["res"] for event in said if event["event"] == "runner_on_failed"]
    assert 'front_server\n  reason: "lighttpd" is not a supported web server' in failed["msg"]
