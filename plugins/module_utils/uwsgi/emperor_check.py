"""Which emperor runs, and whether it is what its files say: what every run asks of a host.

The program `ask` of role uwsgi_emperor asks it on the host, in the exchange that compares the files; see
`emperor/handover.py` for what is done about the answer.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable

from ..files.atomic import write_atomically
from ..host import layout
from ..host.command import ANSWER, CommandFailed, run

EMPERORS = ("a", "b")

UNIT = "/etc/systemd/system/emperor@.service"


def settings(emperor: str) -> str:
    return f"{layout.CONFIG}/emperor-{emperor}.ini"


def unit_property(emperor: str, name: str) -> str:
    """A property of the emperor's unit as systemd has it; empty when systemd cannot say."""
    with contextlib.suppress(CommandFailed):
        command = ["systemctl", "show", f"--property={name}", "--value", f"emperor@{emperor}"]
        return run(command, what="systemctl show", timeout=30, whole=ANSWER).strip()
    return ""


def environment() -> dict[str, str]:
    """What the unit of the running emperor sets for its apps."""
    words = unit_property(running_emperor(), "Environment").split()
    return dict(word.split("=", 1) for word in words if "=" in word)


def is_running(emperor: str) -> bool:
    return unit_property(emperor, "ActiveState") in ("active", "activating", "reloading")


def wanted_digest(emperor: str) -> str:
    digest = hashlib.sha256()
    for path in (UNIT, settings(emperor)):
        with open(path, "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def started_digest(emperor: str) -> str:
    """The digest that the emperor noted of its unit and settings when it started."""
    try:
        with open(layout.emperor_started(emperor), encoding="utf-8") as file:
            return file.read().split()[0]
    except (FileNotFoundError, IndexError):
        return ""


def note_start(emperor: str) -> None:
    """Note them: it starts now."""
    write_atomically(layout.emperor_started(emperor), f"{wanted_digest(emperor)}\n", 0o644)


def deleted_files(maps: Iterable[str]) -> list[str]:
    """Programs and libraries in the lines of a `/proc/<pid>/maps` that were replaced on disk since they were loaded."""
    found = []
    for line in maps:
        fields = line.rstrip("\n").split(maxsplit=5)
        if len(fields) == 6 and "x" in fields[1] and fields[5].endswith(" (deleted)"):
            path = fields[5].removesuffix(" (deleted)")
            if path.startswith(("/usr/", "/lib", "/bin/")) and path not in found:
                found.append(path)
    return found


def out_of_date(emperor: str) -> str | None:
    """Why the running emperor has to be replaced; None when it is as wanted."""
    if started_digest(emperor) != wanted_digest(emperor):
        return "its unit or settings changed"
    pid = unit_property(emperor, "MainPID")
    with contextlib.suppress(OSError):
        children = f"/proc/{pid}/task/{pid}/children"
        with open(children, encoding="utf-8") as file:
            pids = [pid, *file.read().split()]
        for one in pids:
            with contextlib.suppress(OSError):
                # Line by line, and any bytes: an app gives the files that it maps their names, and maps many.
                with open(f"/proc/{one}/maps", encoding="utf-8", errors="replace") as file:
                    gone = deleted_files(file)
                if gone:
                    return f"{gone[0]} was replaced since it started"
    return None


def running_emperor() -> str:
    """The emperor that new activations go to: `a`, until a handover wrote another name."""
    try:
        with open(f"{layout.CONFIG}/emperor", encoding="utf-8") as file:
            name = file.read().strip()
    except FileNotFoundError:
        return EMPERORS[0]
    return name if name in EMPERORS else EMPERORS[0]


def other(emperor: str) -> str:
    return EMPERORS[1 - EMPERORS.index(emperor)]


def old_socket_directories() -> list[str]:
    """Directories in which earlier versions had sockets bound: of apps that are to move; see `old_sockets`."""
    waiting = layout.old_waiting()
    ours = (layout.sockets(), layout.all_current_steps(), waiting)
    return [
        entry.path
        for directory in (layout.RUN, waiting)
        if os.path.isdir(directory)
        for entry in os.scandir(directory)
        if entry.is_dir(follow_symlinks=False) and entry.path not in ours
    ]


def up_to_date() -> bool:
    """Whether one emperor runs, as its files want it, no other one beside it, and all sockets are out of the apps' reach."""
    emperor = running_emperor()
    return (
        is_running(emperor)
        and out_of_date(emperor) is None
        and not is_running(other(emperor))
        and not old_socket_directories()
    )
