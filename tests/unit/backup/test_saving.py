"""What becomes of a backup, from one to the next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.backup import saving
from ansible_collections.emperor.stack.plugins.module_utils.database.server import Server
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed

SETTINGS = {"repository": "/mnt/backups", "host": "web1", "keep": {"last": 3}, "prune": True}


@pytest.fixture
def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the repository was known, of each backup; nothing leaves this machine."""
    for name, path in (
        ("STATE", ""),
        ("DUMPS", "/databases"),
        ("LAST", "/last.json"),
        ("MANIFEST", "/manifest.json"),
    ):
        monkeypatch.setattr(saving, name, f"{tmp_path}{path}")
    monkeypatch.setattr(saving, "OF_THE_HOST", ())
    monkeypatch.setattr(saving, "apps", lambda: iter(()))
    monkeypatch.setattr(saving, "settings", lambda: dict(SETTINGS))
    known: list[bool] = []
    monkeypatch.setattr(saving, "_send", lambda restic, paths, wanted, one: known.append(one))
    return known


def test_a_failure_is_remembered_together_with_the_last_good_backup(
    sent: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = saving.save()
    assert good["good"] and saving.last_backup() == good
    manifest = json.loads(Path(saving.MANIFEST).read_text())
    assert manifest == {"began": good["began"], "apps": {}, "databases": {}}

    def refuse(*_: Any) -> None:
        raise CommandFailed("restic cat", "restic cat", "exit status 1", "Is there a repository at …")

    monkeypatch.setattr(saving, "_send", refuse)
    bad = saving.save()
    assert not bad["good"] and "Is there a repository" in bad["problems"][0]
    assert saving.last_backup()["last_good"] == good["began"] == bad["first"]
    assert saving.last_backup()["repository"] == good["repository"]


def test_a_repository_is_known_from_its_first_backup_on(
    sent: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    saving.save()
    saving.save()
    monkeypatch.setattr(saving, "settings", lambda: {**SETTINGS, "repository": "/mnt/others"})
    saving.save()
    assert sent == [False, True, False]


def test_databases_of_apps_are_dumped_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owners = {
        "blog": "blog_owner",
        "blog.restored": "blog_owner",
        "postgres": "postgres",
        "my_owner": "my_owner_owner",
    }
    monkeypatch.setattr(saving, "DUMPS", str(tmp_path))
    monkeypatch.setattr(
        Server, "state", lambda _: {"databases": {name: {"owner": owner} for name, owner in owners.items()}}
    )
    monkeypatch.setattr(Server, "dump", lambda _, name, path, compressed: Path(path).write_text(name))
    assert saving.dump("17") == {"blog": {"bytes": 4}, "my_owner": {"bytes": 8}}
