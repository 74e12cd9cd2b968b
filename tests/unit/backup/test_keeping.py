"""The backup server: what it deletes, and when it complains."""

from __future__ import annotations

import json
import os
import pwd
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.backup import keeping
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed

DAY = 24 * 3600
OLD, NEW = "a" * 64, "b" * 64


class Asked:
    """What restic is told, repository by repository, and what it would delete."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.refuses = ""

    def run(self, repository: str, *words: str) -> str:
        host = os.path.basename(repository)
        if host == self.refuses:
            raise CommandFailed("restic", "restic", "exit status 1", "pack is damaged")
        self.said.append(f"{host}: {' '.join(words)}")
        remove = [{"id": OLD}, {"id": NEW}]
        return json.dumps([{"remove": remove}, {"remove": None}]) if "--dry-run" in words else ""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    made = Asked()
    wanted = {"directory": f"{tmp_path}/backups", "keep": {"daily": 7, "last": 3}, "keep_days": 30}
    monkeypatch.setattr(keeping, "settings", lambda: wanted)
    monkeypatch.setattr(keeping, "STATUS", f"{tmp_path}/status.json")

    def run(one: keeping.Stored, *words: str, **_: Any) -> str:
        return made.run(one.repository, *words)

    monkeypatch.setattr(keeping.Stored, "run", run)
    for host, days in (("web1", {OLD: 31, NEW: 1}), ("web2", {OLD: 29, NEW: 2})):
        place = tmp_path / "backups" / host
        (place / "snapshots").mkdir(parents=True)
        (place / "config").touch()
        for name, age in days.items():
            (place / "snapshots" / name).touch()
            then = time.time() - age * DAY
            os.utime(place / "snapshots" / name, (then, then))
    # What is no repository, and what is no backup.
    (tmp_path / "backups/lost+found").mkdir()
    (tmp_path / "backups/web1/snapshots/.tmp").touch()
    return made


def test_what_has_arrived_lately_stays_whatever_date_it_has(asked: Asked) -> None:
    result = keeping.maintain()
    assert result["repositories"] == {"web1": {"deleted": 1}, "web2": {"deleted": 0}}
    assert [one for one in asked.said if "forget" in one and "--dry-run" not in one] == [
        f"web1: forget --quiet --prune {OLD}"
    ]
    assert asked.said[0] == ("web1: forget --dry-run --group-by=host --keep-daily=7 --keep-last=3 --json")
    assert [one.partition(" ")[0] for one in asked.said if " check " in one] == ["web1:", "web2:"]


def test_a_damaged_repository_is_a_problem_and_leaves_the_others_alone(asked: Asked) -> None:
    asked.refuses = "web1"
    result = keeping.maintain()
    (problem,) = result["problems"]
    assert problem.startswith("web1: ") and "pack is damaged" in problem
    assert result["repositories"] == {"web2": {"deleted": 0}}
    assert keeping.summary()["problems"][0] == problem


def test_a_host_that_has_fallen_silent_is_a_problem(asked: Asked) -> None:
    keeping.maintain()
    said = keeping.summary()
    assert said["problems"] == ["web2: no backup has arrived in the last 36 hours"] and not said["good"]
    assert said["text"] == "backups of 2 hosts: web1 2 (24.0 h ago), web2 2 (48.0 h ago)"


def test_a_maintenance_that_has_stopped_is_a_problem(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody expects one of a server that was installed a moment ago.
    assert not any("were not deleted" in one for one in keeping.summary()["problems"])
    now = time.time()
    monkeypatch.setattr(keeping.time, "time", lambda: now - 2 * DAY)
    keeping.maintain()
    monkeypatch.setattr(keeping.time, "time", lambda: now)
    assert any("were not deleted in the last 36 hours" in one for one in keeping.summary()["problems"])


def test_the_password_is_in_no_argument_and_in_no_file_that_the_server_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def run(argv: list[str], **more: Any) -> str:
        told.extend((argv, more["env"], more["stdin"].read()))
        return ""

    (tmp_path / "password").write_text("secret of the repository\n")
    monkeypatch.setattr(keeping, "PASSWORD", f"{tmp_path}/password")
    monkeypatch.setattr(keeping.pwd, "getpwnam", lambda _: pwd.getpwuid(os.getuid()))
    monkeypatch.setattr(keeping, "run", run)
    keeping.Stored({"repository": "/srv/backups/web1", "host": "web1"}).check()
    argv, env, given = told
    assert given == b"secret of the repository\n" and "secret" not in f"{argv} {env}"
    assert f"--reuid={os.getuid()}" in argv and env["RESTIC_REPOSITORY"] == "/srv/backups/web1"
