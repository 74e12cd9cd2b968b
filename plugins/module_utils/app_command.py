"""One command of an app in its live release, in a unit like those of its workers."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass

from . import app_units, layout

#: Shorter values are common words, and masking them would garble the output.
SHORTEST_MASKED = 4


class Refused(Exception):
    """The command cannot be run. The message says what to do about it."""


@dataclass(frozen=True)
class Outcome:
    output: str
    #: None when its time was over.
    status: int | None


def secret_values(app: str, release: str) -> set[str]:
    """The values of the release's secrets that its output must not show. Raises Refused."""
    with open(f"{layout.release(app, release)}/environment.json", encoding="utf-8") as file:
        entry = json.load(file)
    if "secrets" not in entry:
        raise Refused(
            f"{release} was made by an older version of Emperor Stack, which had no commands. Deploy {app} once more: "
            f"playbooks/deploy.yml -e app={app} -e again=true"
        )
    values = {entry["environment"].get(name, "") for name in entry["secrets"]}
    return {value for value in values if len(value) >= SHORTEST_MASKED}


def unit_command(app: str, release: str, command: str, timeout: float, unit: str) -> list[str]:
    """How systemd is asked to run *command*."""
    directory = layout.release(app, release)
    lines = [
        *app_units.sandbox(app),
        f"WorkingDirectory={directory}/code",
        f"RuntimeMaxSec={timeout:g}",
        "KillMode=mixed",
        "TimeoutStopSec=10",
        "SyslogIdentifier=" + f"{app}-run",
    ]
    return [
        *("systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--unit={unit}"),
        f"--description={app}: a command by playbooks/run.yml",
        *(f"--property={line}" for line in lines),
        # systemd would put variables of its own in the place of a single $.
        *("--", "/usr/bin/python3", "-I", f"{directory}/launch.py", "command", command.replace("$", "$$")),
    ]


def run_command(app: str, release: str, command: str, timeout: float) -> Outcome:
    unit = layout.activation_unit(app, "run", f"{app}@{time.time_ns()}")
    began = time.monotonic()
    process = subprocess.Popen(
        unit_command(app, release, command, timeout, unit),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        raw, _ = process.communicate(timeout=timeout + 60)
    except BaseException:
        subprocess.run(["systemctl", "stop", unit], check=False, stderr=subprocess.DEVNULL)
        process.kill()
        raise
    over = process.returncode != 0 and time.monotonic() - began >= timeout
    return Outcome(raw.decode(errors="replace"), None if over else process.returncode)
