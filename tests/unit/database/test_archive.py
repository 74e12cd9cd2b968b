"""The archive of all changes: when a backup is added, what is a problem, and how a moment is asked for."""

from __future__ import annotations

import datetime
import json
import os
import pwd
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.database import archive
from ansible_collections.emperor.stack.plugins.module_utils.database.server import Server, ServerError
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed

DAY = 24 * 3600


class Asked:
    """pgBackRest: what it is told, the backups that it has, and what it refuses."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.backups: list[dict[str, Any]] = []
        self.refuses: dict[str, str] = {}

    def run(self, argv: list[str], **more: Any) -> str:
        words = " ".join(argv[argv.index("pgbackrest") + 5 :]) if "pgbackrest" in argv else " ".join(argv)
        self.said.append(words)
        for word, said in self.refuses.items():
            if word in words:
                raise CommandFailed("pgbackrest", "pgbackrest", "exit status 28", said)
        return json.dumps([{"backup": self.backups}]) if words.endswith("info") else ""

    def has(self, *kinds: tuple[str, float]) -> None:
        self.backups = [
            {"type": kind, "timestamp": {"stop": int(time.time() - days * DAY)}} for kind, days in kinds
        ]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    made = Asked()
    monkeypatch.setattr(archive, "run", made.run)
    monkeypatch.setattr(archive.pwd, "getpwnam", lambda _: pwd.getpwuid(os.getuid()))
    monkeypatch.setattr(archive, "DATA", "/nowhere")
    return made


@pytest.mark.parametrize(
    ("there", "kind"),
    [
        ([], "full"),
        ([("full", 6), ("incr", 1)], "incr"),
        ([("full", 7.01), ("incr", 1)], "full"),
        ([("incr", 1)], "full"),
    ],
)
def test_a_full_backup_each_week(there: list[tuple[str, float]], kind: str, asked: Asked) -> None:
    asked.has(*there)
    assert archive.save() == kind and asked.said[-1] == f"--type={kind} backup"


def test_an_archive_is_made_with_its_first_backup_and_follows_a_new_version(
    asked: Asked, tmp_path: Path
) -> None:
    place = tmp_path / "archive"
    archive.create(str(place))
    assert place.is_dir() and asked.said[0] == "stanza-create"
    assert asked.said[-1] == "systemctl start --no-block emperor-stack-postgresql-archive.service"
    asked.said.clear()
    asked.has(("full", 1))
    asked.refuses = {"stanza-create": "backup and archive info files exist but do not match the database"}
    archive.create(str(place))
    assert asked.said[:2] == ["stanza-create", "stanza-upgrade"] and "start" not in asked.said[-1].split()
    asked.refuses = {"stanza-create": "unable to open repository"}
    with pytest.raises(CommandFailed):
        archive.create("")


@pytest.mark.parametrize(
    ("there", "failing", "said"),
    [
        ([("full", 1)], "f", []),
        ([("full", 2)], "f", ["no backup in the last 36 hours"]),
        ([], "t", ["no backup in the last 36 hours", "changes do not reach it"]),
    ],
)
def test_what_would_keep_a_moment_from_being_restored(
    there: list[tuple[str, float]],
    failing: str,
    said: list[str],
    asked: Asked,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Server, "sql", lambda *_: f"{failing}\n")
    asked.has(*there)
    found = archive.problems(Server("17"))
    assert len(found) == len(said) and all(text in one for text, one in zip(said, found, strict=True))
    asked.refuses = {"info": "unable to reach storage"}
    (one,) = archive.problems(Server("17"))
    assert "unable to reach storage" in one


def test_a_moment_is_asked_for_in_utc_and_a_new_database_by_its_changes(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "DATA", str(tmp_path))
    (tmp_path / "17").mkdir()
    past = archive.Past("17")
    moment = datetime.datetime.fromisoformat("2026-11-22T03:00:00.5+02:00")
    past.restore("blog", moment)
    (said,) = asked.said
    assert "--target=2026-11-22 01:00:00.500000+00 --db-include=blog restore" in said
    assert past.environment()["PGHOST"] == past.place and os.path.isdir(past.place)
    asked.said.clear()
    asked.refuses = {"--db-include": "database to include 'blog' does not exist"}
    past.restore("blog", moment)
    assert len(asked.said) == 2 and "--db-include" not in asked.said[1]
    asked.refuses = {"--db-include": "no space left on device"}
    with pytest.raises(CommandFailed):
        past.restore("blog", moment)


def test_a_moment_that_is_to_come_is_refused_before_anything_else(asked: Asked) -> None:
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    with pytest.raises(ServerError, match="still to come"), archive.at(Server("17"), "blog", later):
        pass
    assert asked.said == []


def test_what_was_begun_is_stopped_and_deleted_when_it_fails(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "DATA", str(tmp_path))
    monkeypatch.setattr(archive, "_archive_all", lambda _: None)
    (tmp_path / "17").mkdir()
    told: list[str] = []

    def control(_: Server, argv: list[str], what: str, **more: Any) -> str:
        told.append(what)
        if what == "pg_ctl start":
            Path(argv[3].removeprefix("--log=")).write_text("FATAL: recovery ended before the target\n")
            raise CommandFailed(what, what, "exit status 1", "could not start server")
        return ""

    monkeypatch.setattr(Server, "as_postgres", control)
    with (
        pytest.raises(ServerError, match="FATAL: recovery ended"),
        archive.at(Server("17"), "blog", datetime.datetime.now(datetime.UTC)),
    ):
        pass
    assert told == ["pg_ctl start", "pg_ctl stop"] and not os.path.exists(tmp_path / "17/emperor-restore")
