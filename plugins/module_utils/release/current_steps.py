"""What the phases of a run are doing, in a file that the controller reads while they go on.

A line for each app that something is done for: its name, the step, and the host's uptime when that began. No release depends
on it: whatever is in the way of the file is no failure.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterator

from ..host import layout
from .lock import uptime

#: What the controller calls a run: it becomes a part of a file's name.
TOKEN = re.compile(r"[0-9a-f]{16}")

#: Seconds after which the file of a run that died is deleted by another.
STALE = 24 * 3600


class CurrentSteps:
    """Of the run *token*; of none where that is no token."""

    def __init__(self, token: str = "") -> None:
        self._path = layout.current_steps(token) if TOKEN.fullmatch(token) else ""
        self._steps: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def begin(self, app: str, step: str) -> None:
        with self._lock:
            self._steps[app] = (step, uptime())
            self._write()

    @contextlib.contextmanager
    def of(self, app: str, phase: str) -> Iterator[None]:
        """*app* is in *phase* during the block; a step of that may have a name of its own."""
        self.begin(app, phase)
        try:
            yield
        finally:
            with self._lock:
                self._steps.pop(app, None)
                self._write()

    def close(self) -> None:
        """Forget the run, and those that died long ago."""
        if not self._path:
            return
        directory = os.path.dirname(self._path)
        with self._lock, contextlib.suppress(OSError):
            for entry in list(os.scandir(directory)):
                if entry.path == self._path or time.time() - entry.stat().st_mtime > STALE:
                    os.unlink(entry.path)

    def _write(self) -> None:
        if not self._path:
            return
        lines = [f"{app} {step} {began:.1f}\n" for app, (step, began) in self._steps.items()]
        # No more than a file in memory: nothing is lost with it, so nothing is synced.
        with contextlib.suppress(OSError):
            with contextlib.suppress(FileExistsError):
                os.mkdir(os.path.dirname(self._path), 0o700)
            descriptor = os.open(
                f"{self._path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600
            )
            with os.fdopen(descriptor, "w", encoding="ascii", errors="replace") as file:
                file.write("".join(lines))
            os.rename(f"{self._path}.new", self._path)
