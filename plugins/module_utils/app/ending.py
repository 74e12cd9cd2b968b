"""End all that runs for an app, in bounded time, whatever the app does and answers.

Gracefully first, since it may be answering visitors of another name; but it needs no help of the app's: what that says of
itself is waited for no longer than its requests may take, and in the end the kernel ends whatever has its user.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

from ..host import layout
from ..host.command import ANSWER, CommandFailed, run
from ..release import lifecycle
from ..release.state import AppState
from ..systemd import app_units, unit_names
from ..uwsgi.emperor_check import EMPERORS, unit_property

#: Seconds for an emperor to end vassals that are out of its directory; what runs then is killed.
VASSAL_SECONDS = 15.0

#: Seconds beyond the time of its requests for which an activation that is asked whether it is quiet may say nothing.
PATIENCE = 5.0


def end(app: str, uid: int | None) -> None:
    """End units, activations and processes of *app*; *uid* is None where another app has the same. Raises CommandFailed."""
    state = AppState(app)
    _stop_units(app)
    activations = [activation for _, activation in lifecycle.running_activations(app)]
    _drain(state, activations)
    for activation in activations:
        # What does not stop in its time goes with the slice.
        with contextlib.suppress(CommandFailed):
            lifecycle.stop(state, activation)
    deadline = time.monotonic() + VASSAL_SECONDS
    while activations and time.monotonic() < deadline:
        if not (active(layout.app_slice(app)) if uid is None else processes_of(uid)):
            break
        time.sleep(0.2)
    _stop_slice(layout.app_slice(app))
    if uid:
        kill(uid)
        clear_temporary(uid)


#: The file systems that the web processes of all apps have in common.
SHARED_BY_VASSALS = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108


def clear_temporary(uid: int) -> None:
    """Delete what *uid*, of which no process is left, has in the emperors' own temporary file systems.

    They live as long as an emperor does, and a later user may get the number.
    """
    for emperor in EMPERORS:
        pid = unit_property(emperor, "MainPID")
        if not pid.isdecimal() or pid == "0":
            continue
        # What cannot be deleted is no reason to keep an app. Emptied, its directories are of no use to anybody.
        with contextlib.suppress(CommandFailed):
            run(
                ["nsenter", f"--target={pid}", "--mount", "--", "find", *SHARED_BY_VASSALS]
                + ["-xdev", "-uid", str(uid), "-delete"],
                what="deleting its temporary files",
                timeout=120,
            )


def _stop_units(app: str) -> None:
    """Workers, timers, commands that run now, and arranged ends of activations. Web servers are drained first."""
    web = {unit for unit, process, _ in unit_names.activation_units(app) if process == unit_names.WEB}
    units = [unit for unit in unit_names.all_units(app) if unit not in web]
    try:
        app_units.remove(units)
    except CommandFailed:
        # One that ended by itself meanwhile is unknown to systemd now.
        app_units.remove(unit for unit in unit_names.all_units(app) if unit in units)


def _drain(state: AppState, activations: list[str]) -> None:
    """Let *activations*, all at once, come to the end of their requests. Whatever they answer, it ends in time."""
    seconds = {activation: float(state.seconds_to_end(activation)) for activation in activations}

    def wait(activation: str) -> None:
        # A courtesy: what an activation says of itself may be anything.
        with contextlib.suppress(Exception):
            lifecycle.drain(state.app, activation, seconds[activation])

    # Nobody waits for a daemon thread that hangs in what an app has sent it.
    threads = [threading.Thread(target=wait, args=(activation,), daemon=True) for activation in activations]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + max(seconds.values(), default=0.0) + PATIENCE
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.0))


def _stop_slice(unit: str) -> None:
    try:
        run(["systemctl", "stop", unit], what="stopping its slice", timeout=120)
    except CommandFailed:
        # Its processes pass over every signal but this one.
        run(["systemctl", "kill", "--signal=KILL", unit], what="killing what is in its slice", timeout=30)
        run(["systemctl", "stop", unit], what="stopping its slice", timeout=120)


def active(unit: str) -> bool:
    said = run(
        ["systemctl", "show", "--property=ActiveState", "--value", unit],
        what="systemctl show",
        timeout=30,
        whole=ANSWER,
    )
    return said.strip() not in ("inactive", "failed", "")


def processes_of(uid: int) -> list[int]:
    """Processes that have *uid* as one of their users. Those that ended and wait for their parent do not count."""
    pids = []
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        with (
            contextlib.suppress(OSError),
            open(f"/proc/{name}/status", encoding="utf-8", errors="replace") as file,
        ):
            lines = dict(line.partition(":")[::2] for line in file)
            if str(uid) in lines["Uid"].split() and lines["State"].split()[0] not in "ZX":
                pids.append(int(name))
    return pids


def kill(uid: int) -> None:
    """End what left the slice, as a cron job does that the app has set up. Raises CommandFailed."""
    # In one call of the kernel, as the app's user: what forks in a loop is in no list of processes for long. It fails where
    # there are none.
    command = ["setpriv", f"--reuid={uid}", "--clear-groups", "--", "/bin/sh", "-c", "kill -KILL -1"]
    for _ in range(50):
        with contextlib.suppress(CommandFailed):
            run(command, what="ending its processes", timeout=10)
        left = processes_of(uid)
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    raise CommandFailed(
        "ending its processes",
        f"kill -KILL of uid {uid}",
        "they run still",
        " ".join(map(str, processes_of(uid))),
    )
