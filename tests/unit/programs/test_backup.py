"""What the program of role backup says of the last backup, to people and as JSON."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.backup import proving, saving
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed
from ansible_collections.emperor.stack.plugins.module_utils.programs import backup

OLD_TEST = "the last good restore test is older than 9 days, or there was none"
OLD = "the last good backup is older than 36 hours, or there was none"

#: Results in tables are made while the tests are collected, and told when those run: minutes later among all others.
NOW = time.time()


@pytest.fixture(autouse=True)
def one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)


def result(hours: float, **keys: Any) -> dict[str, Any]:
    began = int(NOW - hours * 3600)
    apps = {"blog": {"files": 12, "databases": 1, "rows": 700}, "shop": {"error": "disk full"}}
    return {
        "began": began,
        "last_good": began,
        "seconds": 2.5,
        "apps": apps,
        "databases": {},
        "problems": [],
        **keys,
    }


@pytest.mark.parametrize(
    ("last", "good", "hours", "problems"),
    [
        (result(3), True, 3.0, []),
        (result(37), False, 37.0, [OLD]),
        (result(1, problems=["shop: disk\x1b[31m full"]), False, 1.0, ["shop: disk full"]),
        (result(1, last_good=None), False, 1.0, [OLD]),
        ({}, False, None, ["no backup yet"]),
    ],
)
def test_the_last_backup(
    last: dict[str, Any],
    good: bool,
    hours: float | None,
    problems: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(saving, "last_backup", lambda: last)
    monkeypatch.setattr(proving, "last_test", dict)
    monkeypatch.setattr(backup.sys, "argv", ["backup", "status"])
    assert backup.main() == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["good"], said["hours"], said["problems"]) == (good, hours, problems)
    monkeypatch.setattr(backup.sys, "argv", ["backup", "show"])
    assert backup.main() == int(not good)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == said["text"] and shown[1:] == [f"problem: {one}" for one in problems if last]
    if last:
        assert "2 apps, 12 files, 1 SQLite databases" in shown[0] and said["time"] in shown[0]


@pytest.mark.parametrize(
    ("first", "test", "problems"),
    [
        # A new host has no test yet.
        (3, {}, []),
        (10 * 24, {}, [OLD_TEST]),
        (30 * 24, result(8 * 24), []),
        (30 * 24, result(10 * 24), [OLD_TEST]),
        (
            30 * 24,
            result(1, problems=["restore test of shop: \x1b[31mdisk full"], last_good=None),
            ["disk full", OLD_TEST],
        ),
    ],
)
def test_the_last_restore_test(
    first: float,
    test: dict[str, Any],
    problems: list[str],
) -> None:
    saved = result(3, first=time.time() - first * 3600)
    said = backup.summary(saved, {**test, "good": not test["problems"]} if test else {})
    assert len(said["problems"]) == len(problems) and said["good"] == (not problems)
    for one, text in zip(said["problems"], problems, strict=True):
        assert one.endswith(text) and "\x1b" not in one
    tested = said["restore_test"]
    assert tested["hours"] == (round((time.time() - test["began"]) / 3600, 1) if test else None)
    assert not test or "2 apps, 12 files, 0 databases of PostgreSQL, 700 rows" in tested["text"]


@pytest.mark.parametrize(
    ("hours", "problems", "code", "said"),
    [
        (0, [], 0, "backup of"),
        (0, ["shop: disk full"], 1, "problem: shop: disk full"),
        # It could not even begin: what is there is the backup of the night.
        (9, [], 1, "job timed out"),
    ],
)
def test_a_backup_at_once_is_a_start_of_the_service(
    hours: int,
    problems: list[str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = time.time()
    monkeypatch.setattr(backup.time, "time", lambda: now)

    def start(argv: list[str], **_: Any) -> None:
        assert argv == ["systemctl", "start", "emperor-stack-backup.service"]
        if code:
            raise CommandFailed("the backup", "systemctl start", "exit status 1", "job timed out")

    last = result(hours, problems=problems)
    monkeypatch.setattr(backup, "run", start)
    monkeypatch.setattr(saving, "last_backup", lambda: last)
    monkeypatch.setattr(proving, "last_test", dict)
    monkeypatch.setattr(backup.sys, "argv", ["backup", "now"])
    assert backup.main() == code
    assert said in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    "words", [[], ["now", "blog"], ["put-files"], ["fetch-files", "a", "b", "c", "d"], ["x"]]
)
def test_what_is_no_command_is_refused(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup.sys, "argv", ["backup", *words])
    assert backup.main() == 2
