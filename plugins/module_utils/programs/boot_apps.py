"""boot-apps EMPEROR [VASSAL]: make an emperor start its apps, except for those that may sleep.

An emperor starts a vassal with the first connection to its socket, so this connects to each socket once. The emperor's
unit runs it after a start, and boot-again runs it for one vassal that has ended. The emperor binds that vassal's socket
again after a moment, or later when the vassal ends again and again.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time

from ..host import layout
from ..uwsgi import sockets

#: Seconds. What needs longer is started by its first visitor.
AT_START, AFTER_A_FALL = 5, 30


def main(emperor: str, vassal: str | None = None) -> int:
    place = layout.vassals(emperor)
    left = {
        name
        for name in ([vassal] if vassal else os.listdir(place))
        if name.endswith(".ini") and os.path.exists(f"{place}/{name}.socket")
    }
    deadline = time.monotonic() + (AFTER_A_FALL if vassal else AT_START)
    while left and time.monotonic() < deadline:
        running = pids(emperor)
        left = {name for name in left if not _is_done(f"{place}/{name}", running.get(name))}
        time.sleep(0.2)
    return 0


def pids(emperor: str) -> dict[str, int]:
    """The process of each vassal that the emperor knows, -1 for one that does not run."""
    try:
        said = sockets.stats(layout.emperor_stats(emperor), timeout=5)
        return {vassal["id"]: vassal["pid"] for vassal in said["vassals"]}
    except (sockets.NoAnswer, KeyError, TypeError):
        return {}


def _is_done(path: str, pid: int | None) -> bool:
    """Whether the vassal at *path* needs no connection. *pid* is its process; None if the emperor does not know it."""
    try:
        if may_sleep(path) or (pid is not None and pid > 0):
            return True
        if pid is not None:
            with open(f"{path}.socket", encoding="utf-8") as file:
                connect(file.read().strip())
    except FileNotFoundError:
        # It was stopped.
        return True
    return False


def may_sleep(path: str) -> bool:
    """Whether the vassal at *path* may: its config says when it ends by itself."""
    with open(path, encoding="utf-8") as file:
        return any(line.startswith("die-on-idle") for line in file)


def connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
        # Not even for a full queue, in which case there are visitors.
        connection.setblocking(False)
        connection.connect(path)
