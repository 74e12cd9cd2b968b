"""Mistakes in python_apps are refused on the controller, and the host's files stay as they are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from testinfra.host import Host

testinfra_hosts = ["ansible://default-debian13"]

RUNNER = Path(__file__).resolve().parents[2] / "broken_inputs" / "run.py"


def test_every_broken_input_is_refused_before_the_host_is_touched(host: Host) -> None:
    inventory = Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent
    name = host.backend.host
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "MOLECULE_"))}
    done = subprocess.run(
        [sys.executable, str(RUNNER), "--inventory", str(inventory), "--host", name, "--container", name],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
