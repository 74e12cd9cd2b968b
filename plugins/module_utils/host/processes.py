"""Processes of this machine, by names that no later process will have: who holds a lock, and whether that has ended."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def process_token(pid: int) -> str:
    """A name for a process on this machine that no later one will have."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")
        return f"{boot}/{space}/{pid}/{_stat(pid)[19]}"
    except OSError:
        return f"{socket.gethostname()}//{pid}/"


def _stat(pid: int) -> list[str]:
    """The fields of a process after its name: state first, start time the twentieth. Readable for every user."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def is_dead(token: str) -> bool:
    """Whether *token* names a process of this machine that has ended. False when that cannot be known from here.

    A run in another container is not known either, although the machine is the same: from here nothing of its processes
    can be seen, and the number of its namespace is given to others afterwards. A controller may know: `held_runs`.
    """
    place, _, process = token.rpartition("/")[0].rpartition("/")
    here = process_token(os.getpid()).rsplit("/", 2)[0]
    if not place or place != here or here.endswith("/") or not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        # Another user's: it exists.
        pass
    try:
        fields = _stat(int(process))
    except OSError:
        return False
    return fields[0] in "ZX" or fields[19] != token.rpartition("/")[2]
