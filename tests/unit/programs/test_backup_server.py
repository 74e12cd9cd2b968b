"""What the program of role backup_server says and does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.backup import keeping
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed
from ansible_collections.emperor.stack.plugins.module_utils.programs import backup_server

SAID = {
    "good": False,
    "text": "backups of 1 hosts: web1 2 (40.0 h ago)",
    "problems": ["web1: \x1b[31mno backup"],
}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(backup_server, "run", lambda argv, **_: found.append(" ".join(argv)))
    monkeypatch.setattr(keeping, "settings", lambda: {"digest": "d1"})
    monkeypatch.setattr(keeping, "summary", lambda: dict(SAID))
    monkeypatch.setattr(keeping, "maintain", lambda: {"problems": SAID["problems"]})
    return found


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    monkeypatch.setattr(backup_server.sys, "argv", ["backup-server", *words])
    return backup_server.main(), "".join(capsys.readouterr())


def test_it_runs_with_its_settings_or_not(
    told: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for running, said in (("d1", "d1\n"), ("d0", "differs\n"), ("", "differs\n")):
        monkeypatch.setattr(backup_server, "settings_of", lambda _, running=running: running)
        assert run(monkeypatch, capsys, "state") == (0, said)
    assert run(monkeypatch, capsys, "apply") == (0, "")
    assert told == [
        "systemctl enable --quiet --now emperor-stack-backup-server.timer",
        "systemctl enable --quiet restic-rest-server.service",
        "systemctl restart restic-rest-server.service",
    ]


def test_problems_are_said_without_control_characters(
    told: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, capsys, "show") == (1, f"{SAID['text']}\nproblem: web1: no backup\n")
    assert run(monkeypatch, capsys, "maintain") == (1, "problem: web1: no backup\n")
    code, said = run(monkeypatch, capsys, "status")
    assert code == 0 and json.loads(said) == SAID


def test_errors_are_a_line(
    told: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise CommandFailed("restarting", "systemctl restart", "exit status 1", "address in use")

    monkeypatch.setattr(backup_server, "run", refuse)
    code, said = run(monkeypatch, capsys, "apply")
    assert code == 1 and "address in use" in said
    assert run(monkeypatch, capsys, "delete")[0] == 2
