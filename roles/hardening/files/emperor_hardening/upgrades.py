"""What ends a running upgrade in order at a shutdown: Debian's unit has a Python wait for that, all the time."""

from __future__ import annotations

import fcntl
from pathlib import Path

from .commands import run

UNIT = "unattended-upgrades.service"
#: With it, the unit starts that Python at the shutdown.
DROP_IN = Path("/etc/systemd/system/unattended-upgrades.service.d/60-emperor-stack.conf")
#: Held while an upgrade runs.
LOCK = Path("/run/unattended-upgrades.lock")


def apply_upgrades() -> None:
    """Let the unit run as its files say by now. To restart it would end a running upgrade: then the next boot does it."""
    shown = run("systemctl", "show", "--property=ActiveState,MainPID", UNIT).splitlines()
    state = dict(line.partition("=")[::2] for line in shown)
    waits = state.get("MainPID", "0") != "0"
    if state.get("ActiveState") == "active" and waits == DROP_IN.exists() and not upgrade_runs():
        run("systemctl", "restart", UNIT)


def upgrade_runs() -> bool:
    try:
        with LOCK.open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
