"""Memory per app, asleep and awake, and the seconds of a run without changes, as the apps of one host grow in number.

Memory is that of all processes of all apps and of the emperor, in which what processes share counts once (PSS), less that of
the emperor without an app. A sleeping app has no process; what it costs is the emperor's.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from tools.console import Stop, note

from .hosts import Fleet, inside

STEPS = (1, 10, 50, 100, 200)
#: Of these, runs without changes are timed.
TIMED = (1, 10, 100)

MEMORY = r"""python3 -c '
import glob
total = 0
for path in glob.glob("/proc/[0-9]*"):
    try:
        groups, name = open(path + "/cgroup").read(), open(path + "/cmdline").read()
        if "/apps.slice/" in groups or "emperor-stack/emperor-" in name:
            lines = open(path + "/smaps_rollup").read().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except OSError:
        pass
print(total / 1024)
'"""

#: Of everything that runs on a host, but for this itself, and for the connections of the controller that measures.
BASE = r"""python3 -c '
import glob, os
total = 0
for path in set(glob.glob("/proc/[0-9]*")) - {f"/proc/{os.getpid()}", f"/proc/{os.getppid()}"}:
    try:
        name = open(path + "/cmdline").read()
        lines = open(path + "/smaps_rollup").read().splitlines()
    except OSError:
        continue
    if not name.startswith(("sshd-session: ", "sshd: root")):
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
print(total / 1024)
'"""

#: Apps that ended because nobody asked would do so in their own time: here they are told to.
SLEEP = "pkill --signal QUIT --full '^tiny-[0-9]+ .* uWSGI master$' || true"
AWAKE = "pgrep --count --full '^tiny-[0-9]+ .* uWSGI master$' || true"

WAKE = """python3 -c '
import http.client, sys
from concurrent.futures import ThreadPoolExecutor

def ask(name):
    client = http.client.HTTPConnection("127.0.0.1", 80, timeout=120)
    client.request("GET", "/", headers={"Host": name + ".localhost"})
    answer = client.getresponse()
    return answer.status == 200 and answer.read().decode() == name

with ThreadPoolExecutor(4) as pool:
    print(sum(pool.map(ask, sys.argv[1:])))
' """


@dataclass
class Measured:
    """MiB per app by number of apps, and seconds of runs without changes."""

    idle: dict[int, float] = field(default_factory=dict)
    live: dict[int, float] = field(default_factory=dict)
    no_change: dict[int, list[float]] = field(default_factory=dict)
    tasks: dict[int, int] = field(default_factory=dict)
    #: MiB of all processes of a host without apps.
    base: float = 0


def tiny(number: int) -> dict[str, Any]:
    """One process with two threads: what each further app costs at least."""
    name = f"tiny-{number}"
    return {
        "name": name,
        "domains": [f"{name}.localhost"],
        "source": {"path": "tests/testinfra/apps/tiny"},
        "wsgi": "app:application",
        "health": {"answers": 1},
        "web": {"processes": 1, "threads": 2},
        "on_demand": True,
        "idle": 3600,
    }


def memory(name: str) -> float:
    return float(inside(name, MEMORY))


def awake(name: str) -> int:
    return int(inside(name, AWAKE))


def settle(name: str, wanted: int, seconds: float = 60) -> None:
    """Wait until so many apps have processes."""
    deadline = time.monotonic() + seconds
    while (found := awake(name)) != wanted:
        if time.monotonic() > deadline:
            raise Stop(f"{found} apps are awake and not {wanted}", "See the journal of the emperor there.")
        time.sleep(0.5)
    time.sleep(1)


def measure(hosts: Fleet, debian: int, steps: tuple[int, ...] = STEPS, repeats: int = 3) -> Measured:
    found = Measured()
    name = hosts.add("bench-many", debian)
    hosts.play("site.yml", [name], {"python_apps": []})
    empty = memory(name)
    found.base = float(inside(name, BASE))
    note(f"a host without apps: {found.base:.1f} MiB")
    for count in steps:
        apps = [tiny(number) for number in range(1, count + 1)]
        variables = {"python_apps": apps}
        first = hosts.play("site.yml", [name], variables)
        for _ in range(repeats if count in TIMED else 0):
            again = hosts.play("site.yml", [name], variables)
            if any(again.changed.values()):
                raise Stop(f"a second run changed {again.changed}", "Its time would mean nothing.")
            found.no_change.setdefault(count, []).append(again.seconds)
            found.tasks[count] = again.ok[name]
        inside(name, SLEEP)
        settle(name, 0)
        found.idle[count] = (memory(name) - empty) / count
        answered = int(inside(name, WAKE + " ".join(app["name"] for app in apps)))
        if answered != count:
            raise Stop(f"{answered} of {count} sleeping apps answered", "Memory of the rest means nothing.")
        settle(name, count)
        found.live[count] = (memory(name) - empty) / count
        note(
            f"{count} apps (in {first.seconds:.0f} s): {found.idle[count]:.2f} MiB each asleep, "
            f"{found.live[count]:.1f} MiB awake"
        )
    hosts.remove(name)
    return found


def over_hosts(hosts: Fleet, debian: int, count: int = 4, repeats: int = 3) -> dict[int, list[float]]:
    """Seconds of a run without changes over one host and over *count*, one after the other."""
    names = [hosts.add(f"bench-host-{number}", debian) for number in range(1, count + 1)]
    variables = {"python_apps": [tiny(1)]}
    hosts.play("site.yml", names, variables)
    found: dict[int, list[float]] = {}
    for _ in range(repeats):
        for chosen in (names[:1], names):
            run = hosts.play("site.yml", chosen, variables)
            if any(run.changed.values()):
                raise Stop(f"a second run changed {run.changed}", "Its time would mean nothing.")
            found.setdefault(len(chosen), []).append(run.seconds)
    note(", ".join(f"{number} hosts {min(seconds):.1f} s" for number, seconds in found.items()))
    for name in names:
        hosts.remove(name)
    return found
