"""Start, stop and look at the systemd units of an app: its workers, its timers, and its web server where that is one.

Nothing here asks systemd about an app that has no units.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..files.atomic import link_atomically, write_atomically
from ..host import layout, output
from ..host.command import ANSWER, CommandFailed, run
from . import sandbox as sandbox_of
from .unit_names import LONGEST_STOP, WEB, activation_units, release_units

#: Seconds after which a worker that was just started has to run still.
SETTLE_SECONDS = 3.0

LOG_LINES = 30

#: Stands in the units of a release for the lines of `sandbox`.
SANDBOX_MARK = "@SANDBOX@"

#: Standard output is connected to the journal before the unit's own view of files begins.
JOURNAL_SOCKETS = ("/run/systemd/journal", f"/run/systemd/journal.{layout.LOG_NAMESPACE}")

Units = Mapping[str, str]


def sandbox(app: str) -> list[str]:
    """Lines of `[Service]` for every unit that runs the app's code: its user, its slice, and what it may not do."""
    return [
        f"User={app}",
        f"Group={app}",
        f"Slice={layout.app_slice(app)}",
        f"LogNamespace={layout.LOG_NAMESPACE}",
        # A line keeps the priority of its unit, whatever it begins with: each priority has a limit of its own.
        "SyslogLevelPrefix=false",
        "UMask=0027",
        "NoNewPrivileges=true",
        "CapabilityBoundingSet=",
        *sandbox_of.lines("apps"),
        # One mount, not one for each directory that is the app's: between two, a rename from TMPDIR into a persistent
        # directory fails. What else lies there is root's, and what is sealed stays closed whoever owns it.
        f"ReadWritePaths={layout.app_root(app)}",
        f"ReadOnlyPaths=-{layout.releases(app)}",
        f"InaccessiblePaths={' '.join(f'-{path}' for path in JOURNAL_SOCKETS)}",
        # Netlink as for the web processes: for the addresses of this host, which getifaddrs(3) asks the kernel for.
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    ]


# Files


def in_sandbox(text: str, app: str) -> str:
    """The unit *text* of a release of *app* with today's sandbox.

    A release outlives what its unit may do: the lines are not its own. In those of releases that earlier versions have
    made they are the last ones of `[Service]`, from `User=` on.
    """
    old = rf"(?m)^User={re.escape(app)}\n(?:[A-Z][A-Za-z]+=.*\n?)*"
    marked = re.sub(old, f"{SANDBOX_MARK}\n", text, count=1)
    return marked.replace(SANDBOX_MARK, "\n".join(sandbox(app)))


def texts(app: str, release: str, activation: str, process: str, count: int = 1) -> dict[str, str]:
    """The units of a process in *activation*, as its *release* has them, by name; a web server's socket before it."""
    with open(f"{layout.release_units(app, release)}/app_{app}_{process}@.service", encoding="utf-8") as file:
        text = in_sandbox(without_bind(app, file.read()), app).replace("@ACTIVATION@", activation)
    names = [layout.activation_unit(app, process, activation, number) for number in range(1, count + 1)]
    units = dict.fromkeys(names, text)
    if process == WEB:
        return {layout.socket_unit(names[0]): web_socket(app, activation), **units}
    return units


#: By its own name a unit names its socket's (systemd.unit(5), "Specifiers").
_NEEDS_SOCKET = "Requires=%N.socket"


def without_bind(app: str, text: str) -> str:
    """*text* of a unit, without what earlier versions wrote: that the app binds its socket, in a directory of its own."""
    bare = re.sub(rf" --bind unix:{re.escape(layout.old_socket_directory(app))}/\S+", "", text)
    return text if bare == text else bare.replace("[Unit]\n", f"[Unit]\n{_NEEDS_SOCKET}\n", 1)


def web_socket(app: str, activation: str) -> str:
    """The unit that binds the socket of *activation*, as root and where the app can put nothing.

    No boot starts it for an activation that is not live, nor any that is not just being deployed: its service requires it,
    and is held back by a like condition. The queue's length is set by the server when it takes the socket over.
    """
    return f"""\
[Unit]
Description=Socket of {activation}
ConditionPathExists=|{layout.active(app)}/{activation}
ConditionPathExists=|{layout.started(activation)}

[Socket]
ListenStream={layout.socket(app, activation)}
SocketUser=root
SocketGroup={layout.FRONT_USER}
SocketMode=0660
RemoveOnStop=true
# A server that falls is started again by its own unit, a second later, or by the first visitor; not over and over by many.
TriggerLimitIntervalSec=10s
TriggerLimitBurst=5
"""


def _same(path: str, text: str) -> bool:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read() == text
    except FileNotFoundError:
        return False


def _write(units: Units) -> list[str]:
    """Put *units* into place, those with an [Install] for the next boot too. Returns which were new or changed."""
    changed = [unit for unit, text in units.items() if not _same(layout.unit_file(unit), text)]
    for unit in changed:
        write_atomically(layout.unit_file(unit), units[unit], mode=0o644)
    for unit, text in units.items():
        link = layout.unit_at_boot(unit)
        if "[Install]" in text and not os.path.lexists(link):
            os.makedirs(os.path.dirname(link), exist_ok=True)
            link_atomically(layout.unit_file(unit), link)
    return changed


def _unlink(units: Iterable[str]) -> None:
    for unit in units:
        for path in (layout.unit_at_boot(unit), layout.unit_file(unit)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _systemctl(*words: str, what: str, timeout: float = 90) -> str:
    return run(["systemctl", *words], what=what, timeout=timeout, whole=ANSWER)


def _reload() -> None:
    _systemctl("daemon-reload", what="systemctl daemon-reload")


# Units of activations


def start(activation: str, units: Units) -> list[str]:
    """Start *units* of *activation*, unless they run. They come back after a boot only while it is live."""
    if not units:
        return []
    write_atomically(layout.started(activation), "")
    if _write(units):
        _reload()
    # It returns when the programs have begun, however long a busy host takes for that.
    _systemctl("start", *units, what=f"starting the units of {activation}", timeout=180)
    return list(units)


def remove(units: Iterable[str]) -> None:
    """Stop *units*, each as gracefully as it says, and remove them."""
    gone = list(units)
    if not gone:
        return
    _systemctl("stop", *gone, what=f"stopping {' '.join(gone)}", timeout=LONGEST_STOP + 120)
    # One that failed would be listed for ever, though its file is gone. None of them is an error.
    with contextlib.suppress(CommandFailed):
        _systemctl("reset-failed", *gone, what="resetting failed units")
    _unlink(gone)
    _reload()


def remove_activation(app: str, activation: str) -> None:
    """Stop and remove all units of *activation*."""
    remove(unit for unit, _, owner in activation_units(app) if owner == activation)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(layout.started(activation))


def properties(units: Iterable[str], *names: str) -> dict[str, dict[str, str]]:
    """The properties *names* of *units*, by unit."""
    wanted = list(units)
    if not wanted:
        return {}
    said = _systemctl("show", f"--property={','.join(('Id', *names))}", *wanted, what="systemctl show")
    blocks = (
        dict(line.partition("=")[::2] for line in block.splitlines()) for block in said.strip().split("\n\n")
    )
    return {block["Id"]: block for block in blocks if "Id" in block}


def fallen(units: Iterable[str], restarts: Mapping[str, int] | None = None) -> dict[str, str]:
    """Those of *units* that do not run, or were started again since they counted *restarts*; each with its state."""
    states = properties(units, "ActiveState", "SubState", "NRestarts", "Result", "ExecMainStatus")
    return {
        unit: f"{state['SubState']}, result {state['Result']}, exit status {state['ExecMainStatus']}"
        for unit, state in states.items()
        if state["ActiveState"] != "active"
        or int(state["NRestarts"]) > (restarts or {}).get(unit, sys.maxsize)
    }


def settle(units: Iterable[str]) -> dict[str, str]:
    """What has fallen of *units*, which were just started, after a while."""
    wanted = list(units)
    if not wanted:
        return {}
    restarts = {unit: int(state["NRestarts"]) for unit, state in properties(wanted, "NRestarts").items()}
    time.sleep(SETTLE_SECONDS)
    return fallen(wanted, restarts)


def log(units: Iterable[str], since: float) -> str:
    """The last lines of *units* since *since*, those of systemd about them included."""
    return journal([word for unit in units for word in ("--unit", unit)], since)


def journal(
    which: Iterable[str], since: float, chosen: Callable[[Sequence[str]], list[str]] | None = None
) -> str:
    """The last lines since *since* (seconds since the epoch) that match *which*, of the apps' journal and the system's.

    *chosen* chooses from ten times as many lines.

    The system's has what systemd says about units, and what an app wrote before it had a journal of its own.
    """
    with contextlib.suppress(CommandFailed):
        command = ["journalctl", f"--namespace=+{layout.LOG_NAMESPACE}", *which, f"--since=@{int(since)}"]
        # Without this, systemd 252 gives the first lines since then.
        command += [
            "--reverse",
            f"--lines={LOG_LINES * (10 if chosen else 1)}",
            "-o",
            "cat",
            "--no-pager",
            "--quiet",
        ]
        lines = run(command, what="reading the journal", timeout=20).strip().splitlines()[::-1]
        return output.last("\n".join(chosen(lines) if chosen else lines))
    return ""


# Timers


def use_timers(app: str, release: str | None, names: Iterable[str]) -> None:
    """Make the timers of *app* those of *release*. A command that runs now ends as it began."""
    wanted = {}
    for name in names:
        for kind in ("service", "timer"):
            unit = layout.release_unit(app, name, kind)
            with open(f"{layout.release_units(app, str(release))}/{unit}", encoding="utf-8") as file:
                wanted[unit] = in_sandbox(file.read(), app)
    gone = [unit for unit in release_units(app) if unit not in wanted]
    if not wanted and not gone:
        return
    timers = [unit for unit in gone if unit.endswith(".timer")]
    if timers:
        _systemctl("stop", *timers, what="stopping the removed timers")
    _unlink(gone)
    _forget_runs(timers)
    changed = _write(wanted)
    if changed or gone:
        _reload()
    if due := [unit for unit in changed if unit.endswith(".timer")]:
        _systemctl("restart", *due, what="starting the timers")


def running_commands(app: str, names: Iterable[str]) -> list[str]:
    """Those of the scheduled commands *names* that run now."""
    units = {layout.release_unit(app, name, "service"): name for name in names}
    if not units:
        return []
    found = properties(units, "ActiveState")
    return [
        name
        for unit, name in units.items()
        if found.get(unit, {}).get("ActiveState") in ("active", "activating", "deactivating")
    ]


def _forget_runs(units: Iterable[str]) -> None:
    """Forget when timers ran last: one that has the name later must not make up for what this one missed."""
    for unit in units:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{layout.TIMER_STAMPS}/stamp-{unit}")


# Looking


def summary(app: str, live: str | None) -> dict[str, list[dict[str, Any]]]:
    """Workers and timers for a status view."""
    workers = {unit: (process, owner) for unit, process, owner in activation_units(app) if process != WEB}
    timers = [unit for unit in release_units(app) if unit.endswith(".timer")]
    services = [unit.replace(".timer", ".service") for unit in timers]
    states = properties([*workers, *services], "ActiveState", "SubState", "NRestarts", "Result")
    times = _timer_times(timers)
    return {
        "workers": [
            {
                "worker": process,
                "unit": unit,
                "activation": owner,
                "live": owner == live,
                "state": states.get(unit, {}).get("SubState", "unknown"),
                "restarts": int(states.get(unit, {}).get("NRestarts", "0")),
            }
            for unit, (process, owner) in workers.items()
        ],
        "timers": [
            {
                "timer": unit.removesuffix(".timer").rpartition("_")[2],
                "unit": unit,
                "state": states.get(service, {}).get("SubState", "unknown"),
                "result": states.get(service, {}).get("Result", "unknown"),
                **times.get(unit, {"next": None, "last": None}),
            }
            for unit, service in zip(timers, services, strict=True)
        ],
    }


def _timer_times(timers: list[str]) -> dict[str, dict[str, str | None]]:
    """When each of *timers* runs next and ran last, in UTC."""
    if not timers:
        return {}
    said = _systemctl("list-timers", "--all", "--output=json", *timers, what="systemctl list-timers")

    def stamp(microseconds: int | None) -> str | None:
        # Never is 0 or null.
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(microseconds / 1e6)) if microseconds else None

    return {
        state["unit"]: {"next": stamp(state.get("next")), "last": stamp(state.get("last"))}
        for state in json.loads(said or "[]")
    }


def web_processes(app: str, activation: str) -> tuple[int, list[int]] | None:
    """The main process of a web server that is a unit, and its children; None when it does not run."""
    unit = layout.activation_unit(app, WEB, activation)
    pid = int(properties([unit], "MainPID").get(unit, {}).get("MainPID", "0"))
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
        return pid, [int(word) for word in file.read().split()]
    return None
