"""How many processes each app of a host gets, and whether the host has the memory for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

App = Mapping[str, Any]

MIB = 1024 * 1024

#: Processes of an app that is left to us, per processor core. Each has threads, which wait for databases meanwhile.
PROCESSES_PER_CORE = 1

#: Where a container's own limit stands, in cgroup v2 and v1; a machine has none at its root.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class Overcommitted(Exception):
    """The apps want more memory than the host has for them. The message shows the sum and what to do."""


@dataclass(frozen=True)
class Host:
    """What there is to share out. *memory* is what apps may take, in MiB; *of_process* what one of their processes takes."""

    cores: int
    memory: int
    of_process: int


@dataclass(frozen=True)
class Share:
    """What one app gets: *processes* of its web server, and *memory* in MiB that is counted for it."""

    name: str
    processes: int
    memory: int
    why: str


def in_mib(size: str) -> int:
    """`512M` or `2G` in MiB."""
    return int(size[:-1]) * (1024 if size.endswith("G") else 1)


def machine_memory(meminfo: str = "/proc/meminfo", limits: Iterable[str] = _LIMITS) -> int:
    """MiB of memory of this machine, or of the container that it is. Raises OSError."""
    with open(meminfo, encoding="ascii") as file:
        total = next(int(line.split()[1]) // 1024 for line in file if line.startswith("MemTotal:"))
    for path in limits:
        try:
            with open(path, encoding="ascii") as file:
                text = file.read().strip()
        except OSError:
            continue
        if text.isdecimal():
            total = min(total, int(text) // MIB)
    return total


def here(percent: int, of_process: int) -> Host:
    """This machine, of whose memory apps may have *percent*."""
    return Host(len(os.sched_getaffinity(0)), machine_memory() * percent // 100, of_process)


def _further(app: App) -> int:
    """Processes besides the web server's workers: its master, and the app's `workers`."""
    return 1 + sum(int(worker.get("count") or 1) for worker in (app.get("workers") or {}).values())


def shares(apps: Iterable[App], host: Host) -> list[Share]:
    """Share *host* out among *apps*, which are completed.

    An app with `limits.memory` counts with that, one with `web.processes` with that many processes; an app that sleeps
    until it is asked counts with nothing. The others divide what is left evenly. Raises Overcommitted.
    """
    found: dict[str, Share] = {}
    open_ones: list[App] = []
    most = max(1, PROCESSES_PER_CORE * host.cores)
    all_apps = list(apps)
    for app in all_apps:
        name, wanted = app["name"], app["web"]["processes"]
        memory = in_mib(app["limits"]["memory"]) if app["limits"]["memory"] else None
        if app["on_demand"]:
            found[name] = Share(name, wanted or 1, 0, "on demand, not counted")
        elif memory is not None:
            fits = max(1, memory // host.of_process - _further(app))
            found[name] = Share(name, wanted or min(most, fits), memory, "limits.memory")
        elif wanted:
            count = wanted + _further(app)
            found[name] = Share(
                name, wanted, count * host.of_process, f"{count} processes of {host.of_process} MiB"
            )
        else:
            open_ones.append(app)
    left = host.memory - sum(share.memory for share in found.values())
    for position, app in enumerate(sorted(open_ones, key=_further, reverse=True)):
        part = left // (len(open_ones) - position)
        processes = min(most, max(1, part // host.of_process - _further(app)))
        count = processes + _further(app)
        memory = count * host.of_process
        found[app["name"]] = Share(
            app["name"], processes, memory, f"{count} processes of {host.of_process} MiB"
        )
        left -= memory
    listed = [found[app["name"]] for app in all_apps]
    if sum(share.memory for share in listed) > host.memory:
        raise Overcommitted(_sum(listed, host))
    return listed


def _sum(listed: list[Share], host: Host) -> str:
    total = sum(share.memory for share in listed)
    lines = [f"  {share.name}: {share.memory} MiB ({share.why})" for share in listed if share.memory]
    asleep = sum(1 for share in listed if not share.memory)
    if asleep:
        lines.append(f"  {asleep} on demand: not counted")
    return "\n".join(
        [
            f"the apps of this host want {total} MiB of memory, but it has only {host.memory} MiB for them:",
            *lines,
            "Give apps less (web.processes, limits.memory), let apps sleep (on_demand: true), move apps "
            "to another host, or correct python_apps_process_memory and python_apps_memory if the sum is "
            "wrong.",
        ]
    )
