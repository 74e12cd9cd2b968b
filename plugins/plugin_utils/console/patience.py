"""Name what takes long, while it runs: nobody looks at a silent terminal for a minute."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

#: Seconds after which something that still runs is named, and then each time it has run for as long again, ...
FIRST = 5.0

#: ... but after so many seconds at the latest.
LONGEST = 60.0

#: Hosts that are named; more of them are counted.
HOSTS = 3


class Pace:
    """When to name something that has run for some seconds: at 5, 10, 20, 40 and then every 60 seconds."""

    def __init__(self) -> None:
        self._next = FIRST

    def is_due(self, seconds: float) -> bool:
        if seconds < self._next:
            return False
        while self._next <= seconds:
            self._next += min(self._next, LONGEST)
        return True


class Watch:
    """Names tasks that take long, from a thread of its own, by *say*."""

    def __init__(self, say: Callable[[str], None], tick: float = 1.0) -> None:
        self._say, self._tick = say, tick
        self._running: dict[str, tuple[str, float]] = {}
        self._paces: dict[str, Pace] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, host: str, task: str) -> None:
        """*task* runs on *host* from now on."""
        with self._lock:
            self._running[host] = (task, time.monotonic())
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, daemon=True)
            self._thread.start()

    def end(self, host: str) -> None:
        with self._lock:
            self._running.pop(host, None)

    def close(self) -> None:
        self._closed.set()

    def _look(self) -> None:
        # A terminal that went away is found by others.
        with contextlib.suppress(OSError, ValueError):
            while not self._closed.wait(self._tick):
                for line in self.due(time.monotonic()):
                    self._say(line)

    def due(self, now: float) -> list[str]:
        """A line for each task that is to be named at *now*."""
        with self._lock:
            tasks: dict[str, list[tuple[str, float]]] = {}
            for host, (task, began) in self._running.items():
                tasks.setdefault(task, []).append((host, now - began))
            self._paces = {task: self._paces.get(task, Pace()) for task in tasks}
            lines = []
            for task, running in tasks.items():
                seconds = max(seconds for _, seconds in running)
                if self._paces[task].is_due(seconds):
                    lines.append(f"... {seconds:.0f} s: {task} ({named([host for host, _ in running])})")
            return lines


def named(hosts: list[str]) -> str:
    """The first of *hosts* by name, and how many there are beside them."""
    more = len(hosts) - HOSTS
    return ", ".join(hosts[:HOSTS]) + (f" and {more} more" if more > 0 else "")
