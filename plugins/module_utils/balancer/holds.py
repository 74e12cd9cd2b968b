"""Hosts that get no requests for an app, whatever they answer, until somebody lets them in again.

HAProxy reads the list whenever it starts or is reloaded; at once it is told at its socket. So a hold outlives a reload and
a boot of the balancer, and needs nothing of the host that is held out.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..files.atomic import write_atomically
from . import naming, running

DIRECTORY = "/etc/haproxy/emperor-stack"
#: After the file that says of all servers that they are not held, and before the one that has the servers.
NAME = "20-holds.cfg"

HEAD = "# Written by Emperor Stack (module balancer). Hosts that get no requests for an app.\nglobal\n"

_APP, _HOST = re.compile(r"[a-z][a-z0-9-]*"), re.compile(r"[A-Za-z0-9._:-]+")
_LINE = re.compile(r"^    # ([a-z][a-z0-9-]*) on ([A-Za-z0-9._:-]+)$", re.MULTILINE)

#: Seconds that a reload may take.
RELOAD = 20


class NoBalancer(Exception):
    """This machine is no balancer of Emperor Stack."""


@dataclass(frozen=True, order=True)
class Hold:
    app: str
    host: str


def checked(app: str, host: str) -> Hold:
    """Raises ValueError for what HAProxy's configuration could not hold."""
    if not _APP.fullmatch(app) or not _HOST.fullmatch(host):
        raise ValueError(f"{app!r} on {host!r} is not an app on a host")
    return Hold(app, host)


def parse(text: str) -> set[Hold]:
    return {Hold(*found) for found in _LINE.findall(text)}


def render(holds: Iterable[Hold]) -> str:
    lines = [
        f"    # {one.app} on {one.host}\n    setenv {naming.variable(one.app, one.host)} disabled\n"
        for one in sorted(holds)
    ]
    return HEAD + "".join(lines)


def held(directory: str = DIRECTORY) -> set[Hold]:
    """What is held out. Raises NoBalancer."""
    if not os.path.isdir(directory):
        raise NoBalancer(f"there is no {directory}: run site.yml, which makes this machine a balancer")
    with contextlib.suppress(FileNotFoundError), open(f"{directory}/{NAME}", encoding="utf-8") as file:
        return parse(file.read())
    return set()


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def change(
    hold: Iterable[Hold],
    release: Iterable[Hold],
    check_mode: bool = False,
    directory: str = DIRECTORY,
    path: str = running.PATH,
) -> tuple[bool, set[Hold]]:
    """Hold out and let in again. Returns whether anything changed, and all that is held out now.

    No app loses its last host: hosts stay in where nobody would be left to answer. Raises NoBalancer, and running.NoAnswer
    where HAProxy runs but does not do it.
    """
    with contextlib.ExitStack() as stack:
        known = held(directory)
        if not check_mode:
            stack.enter_context(_locked(directory))
            known = held(directory)
        wanted_in = set(release) & known
        wanted = (known | set(hold)) - set(release)
        wanted -= _last(wanted, wanted - known, wanted_in, path)
        changed = wanted != known
        if check_mode:
            return changed, wanted
        if changed:
            write_atomically(f"{directory}/{NAME}", render(wanted), mode=0o644)
        if os.path.exists(path):
            changed |= _tell(set(hold) & wanted, wanted_in, path)
    return changed, wanted


def _last(wanted: set[Hold], new: set[Hold], back: set[Hold], path: str) -> set[Hold]:
    """Those of the *new* holds that would, with all that is *wanted*, leave an app without a host that answers.

    Hosts that are let in now, *back*, count as answering.
    """
    if not new or not os.path.exists(path):
        return set()
    servers = running.servers(path)
    apps = {one.app for one in new} & servers.keys()
    answering = back | {
        Hold(app, host) for app in apps for host, one in servers[app].items() if running.up(one)
    }
    empty = set()
    for app in apps:
        left = {Hold(app, host) for host in servers[app]} - wanted
        if not left or (new & answering and not left & answering):
            empty.add(app)
    return {one for one in new if one.app in empty}


def _tell(out: set[Hold], back: set[Hold], path: str) -> bool:
    """Let the running HAProxy do it. Returns whether it had to."""
    # One that began to read the list before it was written would not know; afterwards it does.
    _await_reload()
    told = False
    servers = running.servers(path)
    for one, state in [*((one, "maint") for one in sorted(out)), *((one, "ready") for one in sorted(back))]:
        server = servers.get(one.app, {}).get(one.host)
        if server is None or server["status"].startswith("MAINT") == (state == "maint"):
            continue
        said = running.ask(f"set server {naming.backend(one.app)}/{one.host} state {state}", path).strip()
        if said:
            raise running.NoAnswer(f"HAProxy refuses to set {one.app} on {one.host} to {state}: {said}")
        told = True
    return told


def _await_reload() -> None:
    end = time.monotonic() + RELOAD
    while time.monotonic() < end:
        state = subprocess.run(
            ["systemctl", "is-active", "haproxy.service"], capture_output=True, text=True, check=False
        ).stdout.strip()
        if state != "reloading":
            return
        time.sleep(0.1)
