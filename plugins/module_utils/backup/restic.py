"""restic, with the repository and the password of this host."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..host.command import CommandFailed, run

PLACE = "/etc/emperor-stack/backup"
SETTINGS = f"{PLACE}/settings.json"
PASSWORD = f"{PLACE}/password"
#: The repository of another host, while a restore takes its backups.
SOURCE = f"{PLACE}/source.json"
CACHE = "/var/cache/emperor-stack/restic"
#: Bytes of an answer as JSON.
ANSWER = 64 * 1024 * 1024
DAY = 24 * 3600
#: Seconds in which a repository answers at all; restic itself tries for a quarter of an hour.
ANSWERS = 45
#: Seconds to wait for another host that has locked the repository, while it deletes old backups; and between two looks.
LOCKED, PAUSE = 2 * 3600, 60


class Incomplete(Exception):
    """A snapshot was made, but files that were there at its beginning are not in it."""


class Restic:
    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.repository = str(settings["repository"])
        self.host = str(settings["host"])
        #: A certificate of an authority, for a server whose own one is of no public authority.
        self._authority = str(settings.get("authority") or "")
        self._variables = {
            str(name): str(value) for name, value in (settings.get("environment") or {}).items()
        }

    def run(self, *words: str, timeout: float = DAY, whole: int | None = None) -> str:
        """What restic says. Repository and password are in no argument. Raises CommandFailed."""
        env = {
            "HOME": "/root",
            "RESTIC_REPOSITORY": self.repository,
            "RESTIC_PASSWORD_FILE": PASSWORD,
            "RESTIC_CACHE_DIR": CACHE,
            # Half of the memory, for little more time.
            "GOGC": "20",
            **self._variables,
        }
        return run(
            ["restic", *words, *([f"--cacert={self._authority}"] if self._authority else [])],
            what=f"restic {words[0]}",
            env=env,
            timeout=timeout,
            shown_as=f"restic {words[0]}",
            whole=whole,
        )

    def answer(self, *words: str, timeout: float = 3600) -> Any:
        return json.loads(self.run(*words, "--json", timeout=timeout, whole=ANSWER) or "null")

    def prepare(self, known: bool) -> None:
        """Make the repository where there is none yet. One that is *known* from earlier backups has to be there: in the
        place of a disk that is not mounted there would be a second one. Raises CommandFailed.
        """
        try:
            self.reach(300)
        except CommandFailed as error:
            told = error.output.lower()
            if (
                known
                or "wrong password" in told
                or not any(text in told for text in ("is there a repository", "does not exist"))
            ):
                raise
            self.run("init", timeout=300)

    def reach(self, seconds: float = ANSWERS) -> None:
        """Whether the repository answers, and is opened by the password. Raises CommandFailed."""
        self.run("cat", "config", "--no-lock", timeout=seconds)

    def _in_turn(self, *words: str) -> None:
        """As `run`, after other hosts that have locked the repository. Raises CommandFailed."""
        end = time.monotonic() + LOCKED
        while True:
            try:
                self.run(*words)
                return
            except CommandFailed as error:
                if "already locked" not in error.output.lower() or time.monotonic() > end:
                    raise
            time.sleep(PAUSE)
            # Only of locks whose process is gone.
            self.run("unlock", timeout=300)

    def save(self, paths: Sequence[str], tag: str) -> None:
        """A snapshot of *paths*. Raises CommandFailed, and Incomplete."""
        there = [path for path in paths if os.path.lexists(path)]
        # Files are linked anew each time, which changes their time of change and nothing else.
        words = ["backup", "--quiet", f"--host={self.host}", f"--tag={tag}", "--ignore-ctime", *there]
        try:
            self._in_turn(*words)
        except CommandFailed as error:
            if "exit status 3" in str(error):
                raise Incomplete(error.output) from error
            raise

    def forget(self, keep: Mapping[str, int], prune: bool) -> None:
        words = [f"--keep-{unit}={count}" for unit, count in sorted(keep.items())]
        self._in_turn(
            "forget",
            "--quiet",
            f"--host={self.host}",
            "--group-by=host",
            *words,
            *(["--prune"] if prune else []),
        )

    def snapshots(self, host: str) -> list[dict[str, Any]]:
        """All of *host*, the oldest first."""
        self.reach()
        found = self.answer("snapshots", f"--host={host}") or []
        return sorted(found, key=lambda one: str(one["time"]))

    def outdated(self, keep: Mapping[str, int]) -> list[str]:
        """The backups that `forget` would delete."""
        words = [f"--keep-{unit}={count}" for unit, count in sorted(keep.items())]
        groups = self.answer("forget", "--dry-run", "--group-by=host", *words) or []
        return [str(one["id"]) for group in groups for one in group.get("remove") or []]

    def delete(self, snapshots: Sequence[str]) -> None:
        self._in_turn("forget", "--quiet", "--prune", *snapshots)

    def check(self) -> str:
        return self.run("check", "--read-data-subset=5%")

    def restore(self, snapshot: str, path: str, target: str) -> None:
        self.run("restore", snapshot, f"--include={path}", f"--target={target}", "--quiet")


def settings(source: str = "") -> dict[str, Any]:
    """Those of this host; the repository is that of host *source*, where that has one of its own."""
    with open(SETTINGS, encoding="utf-8") as file:
        wanted = dict(json.load(file))
    if source:
        with contextlib.suppress(FileNotFoundError), open(SOURCE, encoding="utf-8") as file:
            other = json.load(file)
            if other["host"] == source:
                wanted["repository"] = other["repository"]
    return wanted
