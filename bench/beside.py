"""This bundle beside other ways to have apps on a host, in interleaved rounds: set-up, deploys, requests, failures, memory.

The others are written by hand (bench/peers), and say so in the report: the known ones are not in the registries of packages.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from dataclasses import dataclass, field, replace

from tools.console import Stop, note, step

from . import platforms, push, stats, wrk
from .converge import Repository
from .density import BASE
from .hosts import Fleet, inside, write
from .platforms import KINDS, Ours, Way, ask, wait, words_of

Series = dict[str, list[float]]

#: What is asked for, by the name that figures have: the app, and a path of it.
PAGES = {
    "django": ("notes", "/"),
    "flask": ("links", "/api/links"),
    "hello": ("hello", "/"),
    "static_small": ("notes", "/static/notes/style.css"),
}
#: All that serves, on every host; wrk is outside of them.
GROUPS = ("/system.slice/", "/apps.slice/")
#: Requests a second while a release goes live: to which app, how many, and what is committed.
LOADS = {
    "good_hello": ("hello", 100, "app.py", "# {text}\n"),
    "good_django": ("notes", 50, "notes/views.py", "# {text}\n"),
    "syntax_error": ("notes", 50, "notes/wsgi.py", "this is no Python\n"),
}

#: Asks so often, whether answers come or not, until its input ends, and for a moment longer; how many failed, of how many.
LOAD = r"""
import asyncio, sys

async def one():
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", 80), 30)
        writer.write(f"GET {sys.argv[3]} HTTP/1.1\r\nHost: {sys.argv[1]}\r\nConnection: close\r\n\r\n".encode())
        line = await asyncio.wait_for(reader.readline(), 30)
        while await asyncio.wait_for(reader.read(65536), 30):
            pass
        writer.close()
        return b" 200 " in line
    except (OSError, asyncio.TimeoutError):
        return False

async def main():
    loop, end, tasks = asyncio.get_running_loop(), [300.0], []
    began = loop.time()
    loop.add_reader(sys.stdin, lambda: (end.__setitem__(0, loop.time() - began + 3), loop.remove_reader(sys.stdin)))
    print("asking", flush=True)
    while loop.time() - began < end[0]:
        tasks.append(asyncio.create_task(one()))
        await asyncio.sleep(max(0, began + len(tasks) / float(sys.argv[2]) - loop.time()))
    said = await asyncio.gather(*tasks)
    print(said.count(False), len(said))

asyncio.run(main())
"""


@dataclass
class Measured:
    """By way, in the order of the rounds."""

    labels: dict[str, str] = field(default_factory=dict)
    #: Seconds until Django answers on a fresh host, and of a run without changes.
    first: Series = field(default_factory=dict)
    again: Series = field(default_factory=dict)
    deploys: push.Measured = field(default_factory=push.Measured)
    #: By page and way: requests a second, microseconds of processor a request.
    rate: dict[str, Series] = field(default_factory=dict)
    spent: dict[str, Series] = field(default_factory=dict)
    #: By kind of release and way: requests that failed, and whether the app answered afterwards.
    lost: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    answers: dict[str, dict[str, list[bool]]] = field(default_factory=dict)
    #: MiB of all processes of a host without apps, with one Django and with ten, none of which is asked.
    memory: dict[str, dict[str, list[float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    fresh: int = 3
    deploys: int = 7
    served: int = 7
    seconds: int = 2
    lost: int = 3
    copies: int = 10


QUICK = Size(1, 1, 2, 1, 1, 2)


def first(found: Measured, ways: dict[str, Way], debian: int, rounds: int) -> None:
    """Fresh hosts; those of the last round stay."""
    for number in range(rounds):
        for key in stats.turn(list(ways), number):
            way = ways[key]
            way.prepare(debian)
            began = time.monotonic()
            way.set_up(list(KINDS))
            wait(way.host, "notes")
            found.first.setdefault(key, []).append(time.monotonic() - began)
        note(
            f"round {number + 1} of {rounds}: "
            + ", ".join(f"{k} {v[-1]:.0f} s" for k, v in found.first.items())
        )
    for number in range(rounds):
        for key in stats.turn(list(ways), number):
            played = ways[key].set_up(list(KINDS))
            if played:
                found.again.setdefault(key, []).append(played.seconds)


def deploy(found: Measured, ways: dict[str, Way], rounds: int) -> None:
    """One line of the Django example, by each way; this bundle's has two."""
    ours = ways["ours"]
    assert isinstance(ours, Ours)  # noqa: S101
    found.deploys.peer = "paas.py, written by hand"
    every = {
        "push": ways["push"],
        "command": replace(ours, playbook=False),
        "playbook": ours,
        "releases": ways["releases"],
        "supervised": ways["supervised"],
    }
    # A first round, which finds everything cold, is not counted.
    for number in range(-1, rounds):
        into = found.deploys if number >= 0 else push.Measured()
        for key in stats.turn(list(every), max(number, 0)):
            way, text = every[key], f"{key} {number}"
            push.mark(way.sources["notes"], text)
            way.publish("notes")
            words, environment = way.deploy("notes")
            time.sleep(1)
            push.timed(into, key, way.host, text, words, environment)
            if key == "command":
                into.took.append(push.steps(way.host))
        note(", ".join(f"{key} {values[-1]:.2f} s" for key, values in into.answered.items()))


def serve(found: Measured, ways: dict[str, Way], rounds: int, seconds: int) -> None:
    for way in ways.values():
        inside(way.host, "apt-get install -q -y --no-install-recommends wrk >/dev/null")
        for app in KINDS:
            way.rows(app)
    for page, (app, path) in PAGES.items():
        same(ways, page, app, path)
    for number in range(rounds):
        for page, (app, path) in PAGES.items():
            for key in stats.turn(list(ways), number):
                name = ways[key].host
                before = sum(wrk.processor(name, GROUPS))
                said = wrk.load(name, f"http://127.0.0.1{path}", f"{app}.localhost", 32, seconds)
                spent = (sum(wrk.processor(name, GROUPS)) - before) / 1000 / (said.rate * seconds)
                found.rate.setdefault(page, {}).setdefault(key, []).append(said.rate)
                found.spent.setdefault(page, {}).setdefault(key, []).append(spent)
        note(f"round {number + 1} of {rounds}")


def same(ways: dict[str, Way], page: str, app: str, path: str) -> None:
    """All ways have to serve the same page, or their rates cannot be compared."""
    said = {key: ask(way.host, app, path) for key, way in ways.items()}
    if len(set(said.values())) != 1 or next(iter(said.values()))[0] != 200:
        raise Stop(f"the ways differ in status or length of {page}: {said}", "Look at the pages.")


def lose(found: Measured, ways: dict[str, Way], rounds: int) -> None:
    """Count what fails while a release goes live, a good one and one that cannot start."""
    for number in range(rounds):
        for load, (app, rate, path, line) in LOADS.items():
            for key in stats.turn(list(ways), number):
                way = ways[key]
                source = way.sources[app]
                before = (source.work / path).read_text()
                source.change(path, line.format(text=f"{load} {key} {number}").rstrip())
                way.publish(app)
                failed = under_load(way, app, rate)
                found.lost.setdefault(load, {}).setdefault(key, []).append(failed)
                found.answers.setdefault(load, {}).setdefault(key, []).append(ask(way.host, app)[0] == 200)
                if load == "syntax_error":
                    mend(way, source, app, path, before)
        note(f"round {number + 1} of {rounds}: {found.lost}")


def under_load(way: Way, app: str, rate: int) -> int:
    write(way.host, "/srv/load.py", LOAD)
    words = ["docker", "exec", "-i", way.host, "python3", "/srv/load.py", f"{app}.localhost", str(rate), "/"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as asking:
        if not asking.stdin or not asking.stdout:
            raise Stop("the load has no pipes", "Run it again.")
        asking.stdout.readline()
        words_of(way, app)
        said, _ = asking.communicate(timeout=400)
    return int(said.split()[0])


def mend(way: Way, source: Repository, app: str, path: str, before: str) -> None:
    """A good release again, so that the next one has something to replace."""
    (source.work / path).write_text(before)
    source.commit("Take it back")
    way.publish(app)
    done = words_of(way, app)
    if done.returncode:
        raise Stop(f"{way.label}: a good release failed: {done.stdout[-1000:]}", "Look at its host.")
    wait(way.host, app)


def weigh(found: Measured, ways: dict[str, Way], debian: int, copies: int) -> None:
    """Memory of hosts that do nothing: fresh ones, for what ran before leaves its traces."""
    steps = {"base": [], "one": ["notes"], "ten": ["notes", *(f"notes{n}" for n in range(2, copies + 1))]}
    for key, way in ways.items():
        way.prepare(debian)
        for name, apps in steps.items():
            way.set_up(apps)
            for app in apps:
                wait(way.host, app)
            time.sleep(5)
            kept = found.memory.setdefault(name, {}).setdefault(key, [])
            kept += [float(inside(way.host, BASE)) for _ in range(3)]
        note(
            f"{key}: "
            + ", ".join(f"{n} {statistics.median(v[key]):.1f} MiB" for n, v in found.memory.items())
        )
        way.hosts.remove(way.host)


def measure(hosts: Fleet, debian: int, size: Size) -> Measured:
    found = Measured()
    ways = platforms.ways(hosts, platforms.repositories(hosts.directory))
    found.labels = {key: way.label for key, way in ways.items()}
    step("Fresh hosts, and runs without changes")
    first(found, ways, debian, size.fresh)
    step("Deploys")
    deploy(found, ways, size.deploys)
    step("Pages and a small file")
    serve(found, ways, size.served, size.seconds)
    step("Requests that fail while a release goes live")
    lose(found, ways, size.lost)
    step("Memory")
    weigh(found, ways, debian, size.copies)
    return found
