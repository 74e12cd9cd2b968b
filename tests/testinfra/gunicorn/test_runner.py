"""site.yml as a job of ansible-runner, without a container; docs/runner.md."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tools.playbook_server import PROGRAM
from tools.project import ROOT


def test_a_job_of_ansible_runner_converges_the_host(tmp_path: Path) -> None:
    """It finds nothing to change, as the run of ansible-playbook before it."""
    argv = [str(PROGRAM.with_name("ansible-runner")), "run", str(tmp_path), "--project-dir", str(ROOT)]
    argv += ["--playbook", "site.yml", "--inventory", os.environ["MOLECULE_INVENTORY_FILE"], "--ident", "job"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment = {**own, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:]
    events = [json.loads(path.read_text()) for path in (tmp_path / "artifacts/job/job_events").glob("*.json")]
    (stats,) = [event["event_data"] for event in events if event["event"] == "playbook_on_stats"]
    assert stats["ok"] and not stats["changed"] and not stats["failures"], stats
    actions = {event["event_data"].get("task_action") for event in events if event["event"] == "runner_on_ok"}
    assert {"emperor.stack.check_apps", "emperor.stack.drift"} <= actions
