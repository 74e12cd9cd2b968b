"""What an activation's uWSGI says of itself on its statistics socket, which is not trusted.

The app owns the socket, the directory that it is in and the process behind it. So no link of the app's is followed, only an
answer of the app's own user counts, it may have so many bytes and take so long, and each part of it is checked before
anything else sees it.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import socket
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..host import layout
from .sockets import NoAnswer, peer_uid, read_all

#: uWSGI says the variables of each request that runs, some KB for a thread.
LONGEST_ANSWER = 1 << 22

#: Counters of uWSGI have 64 bits.
_LARGEST = (1 << 64) - 1

#: More processes than a host gives to one app.
MOST_WORKERS = 1024


@dataclass(frozen=True)
class Worker:
    pid: int
    busy: bool
    requests: int
    exceptions: int


@dataclass(frozen=True)
class Stats:
    """*pid* is the master's. Numbers are in range; whose processes the pids are, nobody has checked."""

    pid: int
    workers: tuple[Worker, ...]

    @property
    def busy(self) -> int:
        return sum(worker.busy for worker in self.workers)

    @property
    def pids(self) -> set[int]:
        return {self.pid, *(worker.pid for worker in self.workers)} - {0}


def read(app: str, activation: str, timeout: float = 2) -> Stats:
    """The statistics of *activation*. Raises NoAnswer where there are none, or none that make sense."""
    try:
        uid = pwd.getpwnam(app).pw_uid
    except KeyError as error:
        raise NoAnswer(f"there is no user {app}") from error
    path, old = layout.stats_socket(app, activation), layout.old_stats_socket(app, activation)
    return parse(_ask(old if os.path.lexists(old) else path, uid, timeout))


def forget(app: str, activation: str) -> None:
    """Remove the socket's file of an activation that is gone."""
    path = layout.stats_socket(app, activation)
    with contextlib.suppress(OSError), _directory(os.path.dirname(path)) as directory:
        os.unlink(os.path.basename(path), dir_fd=directory)


@contextlib.contextmanager
def _directory(path: str) -> Iterator[int]:
    """A descriptor of a directory whose own parents are root's; OSError where *path* is a link."""
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _ask(path: str, uid: int, timeout: float) -> bytes:
    """All that user *uid* answers at the socket *path*. Raises NoAnswer."""
    deadline = time.monotonic() + timeout
    try:
        with _directory(os.path.dirname(path)) as directory:
            file = os.open(os.path.basename(path), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            if not stat.S_ISSOCK(os.fstat(file).st_mode):
                raise NoAnswer(f"{path} is not a socket")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(timeout)
                # Exactly this file, whatever has its name by now.
                connection.connect(f"/proc/self/fd/{file}")
                if peer_uid(connection) != uid:
                    raise NoAnswer(f"another user answers at {path}")
                answer, whole = read_all(connection, deadline, LONGEST_ANSWER)
        finally:
            os.close(file)
    except OSError as error:
        raise NoAnswer(f"{path}: {error}") from error
    if not whole:
        raise NoAnswer(f"{path} sends more than {LONGEST_ANSWER} bytes")
    return answer


def parse(answer: bytes) -> Stats:
    """Raises NoAnswer with what makes no sense."""
    try:
        said = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise NoAnswer(f"its statistics are not JSON: {type(error).__name__}") from error
    workers = _member(said, "workers", list)
    if len(workers) > MOST_WORKERS:
        raise NoAnswer(f"its statistics name {len(workers)} workers")
    return Stats(_number(said, "pid"), tuple(_worker(one) for one in workers))


def _worker(said: Any) -> Worker:
    status = _member(said, "status", str)
    cores = _member(said, "cores", list) if isinstance(said, dict) and "cores" in said else []
    return Worker(
        pid=_number(said, "pid"),
        # One whose threads are in requests calls itself idle.
        busy=status.startswith("busy") or any(_number(core, "in_request") for core in cores),
        requests=_number(said, "requests"),
        exceptions=_number(said, "exceptions"),
    )


def _member(said: Any, name: str, kind: type) -> Any:
    found = said.get(name) if isinstance(said, dict) else None
    if not isinstance(found, kind):
        raise NoAnswer(f"its statistics have no valid {name}")
    return found


def _number(said: Any, name: str) -> int:
    found = _member(said, name, int)
    if isinstance(found, bool) or not 0 <= found <= _LARGEST:
        raise NoAnswer(f"its statistics have no valid {name}")
    return int(found)


def memory(pids: Iterable[int], uid: int) -> int:
    """KiB of memory of those of *pids* that are processes of *uid*, their part of what they share included (Pss)."""
    return sum(_proportional(pid, uid) for pid in set(pids))


def _proportional(pid: int, uid: int) -> int:
    with contextlib.suppress(OSError), _directory(f"/proc/{pid}") as process:
        if os.stat(process).st_uid != uid:
            return 0
        descriptor = os.open("smaps_rollup", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
        # No line of it is text of the process's own but the first, which is its range of addresses.
        with open(descriptor, encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1])
    return 0
