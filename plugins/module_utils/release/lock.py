"""The lock of an app: who deploys it, how far that is, and when somebody else may take over.

It is a file, so that a run which died leaves it behind, with all that the next run has to finish. Beside it the kernel keeps
processes of one app apart.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypedDict

from ..files.atomic import write_atomically
from ..host import layout, processes

#: Seconds after which a lock whose owner has not been heard of may be taken over.
LOCK_SECONDS = 1800

#: Where the kernel names its present run.
BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Owner(TypedDict, total=False):
    """A run of a playbook, as its controller names it."""

    #: Tells it apart from all others: see plugin_utils/controller/lock_holders.py.
    token: str
    who: str
    controller: str


@dataclass(frozen=True)
class Lock:
    """`lock.json`. What is not known there is as it is here; what is as it is here is not written."""

    # Who holds it.
    token: str = ""
    who: str = ""
    controller: str = ""

    # Since when: for people, by the clock, and by the time since the boot.
    since: str = ""
    started: float = 0.0
    started_uptime: float | None = None

    # How far the deploy is.
    phase: str = ""
    #: `deploy` or `rollback`.
    kind: str = "deploy"
    release: str | None = None
    activation: str | None = None
    #: Whether the activation was there before, kept warm.
    warm: bool = False
    #: The activation that was live when the switch began; `activation` itself where nothing was switched.
    previous: str | None = None
    #: The activation that the switch has ended with.
    switched: str | None = None
    #: Whether that was confirmed for all hosts: nobody takes it back any more.
    confirmed: bool = False
    #: Of a rollback: what the manifest of its release said before the switch.
    switched_before: float = 0.0
    live_as_before: float = 0.0
    status_before: str = ""
    #: What the rename of the switch took.
    milliseconds: float | None = None
    #: Seconds of each step so far.
    took: dict[str, float] = field(default_factory=dict)

    # Until when it holds unless it is written again: for people, by the clock, and by the time since this boot.
    expires: str = ""
    expires_at: float = 0.0
    boot: str = ""
    expires_uptime: float = 0.0

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Lock:
        """What *content* of the file says. What is of another kind than it should be counts as not said."""
        said = {one.name: _KINDS[str(one.type)](content.get(one.name)) for one in fields(cls)}
        return cls(**{name: value for name, value in said.items() if value is not None})

    def content(self) -> dict[str, Any]:
        """What the file says of it."""
        unsaid = asdict(Lock())
        return {name: value for name, value in asdict(self).items() if value != unsaid[name]}

    @property
    def has_expired(self) -> bool:
        """Whether its holder has not been heard of for `LOCK_SECONDS`.

        By the time since the boot, as a clock that is set meanwhile would give a lock away early, or keep it for years. By
        the clock only in the first half hour after another boot, and for the lock of an earlier version of the bundle.
        """
        if self.boot and self.boot == boot_id():
            return self.expires_uptime < uptime()
        return self.expires_at < time.time() or bool(self.boot and uptime() > LOCK_SECONDS)

    @property
    def seconds(self) -> float:
        """How long ago it was taken; 0.0 where that cannot be known."""
        if self.boot == boot_id() and self.started_uptime is not None:
            return round(max(uptime() - self.started_uptime, 0.0), 1)
        return round(max(time.time() - self.started, 0.0), 1) if self.started else 0.0

    def noted_now(self) -> Lock:
        """The same, which holds for `LOCK_SECONDS` from now on."""
        expires = time.time() + LOCK_SECONDS
        return replace(
            self,
            # The clock's time is for people, and for after a reboot.
            expires=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires)),
            expires_at=expires,
            boot=boot_id(),
            expires_uptime=uptime() + LOCK_SECONDS,
        )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _numbers(value: Any) -> dict[str, float] | None:
    if not isinstance(value, dict):
        return None
    return {name: each for name, each in value.items() if _number(each) is not None}


#: By the type of a field, how its value is read.
_KINDS: dict[str, Callable[[Any], Any]] = {
    "str": _text,
    "str | None": _text,
    "float": _number,
    "float | None": _number,
    "bool": _flag,
    "dict[str, float]": _numbers,
}


class Locked(Exception):
    """Another deploy of the app is under way. Carries its lock as `holder`."""

    def __init__(self, app: str, holder: Lock) -> None:
        self.holder = holder
        since, who, controller, phase, expires = (
            value or "unknown"
            for value in (holder.since, holder.who, holder.controller, holder.phase, holder.expires)
        )
        super().__init__(
            f"a deploy is under way since {since}, held by {who} on {controller} (phase {phase}, expires {expires}). "
            "Wait for it, or break the lock with -e break_lock=true."
        )


def boot_id() -> str:
    """What names this run of the kernel; empty where that cannot be read."""
    try:
        with open(BOOT_ID, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def uptime() -> float:
    """Seconds since the boot, sleep included. No change of the clock changes it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Lockable:
    """The lock of one app on this host."""

    app: str

    @property
    def lock_path(self) -> str:
        return f"{layout.state(self.app)}/lock.json"

    def lock(self) -> Lock | None:
        try:
            with open(self.lock_path, encoding="utf-8") as file:
                content = json.load(file)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        return Lock.of(content) if isinstance(content, dict) else None

    def take_lock(
        self, owner: Owner, dead: Collection[str], break_lock: bool, **progress: Any
    ) -> Lock | None:
        """Hold the lock for *owner*; *dead* are tokens of runs that have ended.

        *progress*, fields of the lock, is written with it, in the same rename. Returns what the last holder left unfinished.
        Raises Locked.
        """
        held = self.free_lock(dead, break_lock, owner["token"])
        taken = Lock.of({**owner, "since": now(), "started": time.time(), "started_uptime": uptime()})
        self.write_lock(replace(taken, **{"phase": "prepare", **progress}))
        return held

    def free_lock(self, dead: Collection[str], break_lock: bool, token: str = "") -> Lock | None:
        """What the last holder left unfinished, where the lock may be taken by the run *token*; None where there is none.

        The one rule of locks: it is free where its holder is this run, is among *dead*, was a process of this host that has
        ended, has not been heard of for too long, or is to be passed over on purpose. Whoever meets a lock asks here.
        Raises Locked.
        """
        held = self.lock()
        if held is not None:
            own = bool(token) and held.token == token
            ended = held.token in dead or processes.is_dead(held.token)
            if not (break_lock or own or ended or held.has_expired):
                raise Locked(self.app, held)
        return held

    def write_lock(self, lock: Lock) -> None:
        write_atomically(self.lock_path, json.dumps(lock.noted_now().content()) + "\n")

    def held_lock(self, token: str) -> Lock:
        """The lock, which must be held by *token*. Raises Locked when it is not."""
        held = self.lock()
        if held is None:
            raise Locked(self.app, Lock(who="nobody", phase="none: this deploy's lock was broken"))
        if held.token != token:
            raise Locked(self.app, held)
        return held

    def unlock(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.lock_path)

    @contextlib.contextmanager
    def working(self, seconds: float = 5) -> Iterator[None]:
        """Keep other module calls for this app out. The kernel lets go when the process ends, however it ends.

        Raises Locked after *seconds*, and OSError where the host has no such app.
        """
        path = f"{layout.state(self.app)}/working"
        if not os.path.isdir(layout.state(self.app)):
            reason = "this app is not set up on the host: run site.yml, whose end reports what blocks it"
            raise FileNotFoundError(errno.ENOENT, reason, layout.state(self.app))
        with open(path, "a", encoding="utf-8") as file:
            deadline = time.monotonic() + seconds
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise Locked(self.app, self.lock() or Lock()) from None
                    time.sleep(0.1)
            yield
