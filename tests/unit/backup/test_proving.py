"""A restore test: what comes back of a backup is compared with what was saved."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.backup import proving, restic, restoring, sqlite
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed
from ansible_collections.emperor.stack.plugins.module_utils.systemd import app_process

SAVED = {"files": 1, "databases": 1, "bytes": 30, "rows": {"data/rows.db": 7}}


class Host:
    """A host with one app, whose backup restic restores as it says here."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = {f"{directory}/blog/data/page": "text", f"{directory}/blog/data/rows.db": "rows"}
        self.manifest: dict[str, Any] = {"apps": {"blog": dict(SAVED)}, "databases": {"blog": {"bytes": 4}}}
        self.rows = 7
        self.users = {"blog": ["blog"]}
        self.loaded: list[str] = []
        self.dropped: list[str] = []

    def restore(self, snapshot: dict[str, Any], path: str, place: str) -> str:
        files = {**self.files, str(self.directory / "manifest.json"): json.dumps(self.manifest)}
        files[f"{self.directory}/databases/blog.dump"] = "dump"
        for name, text in files.items():
            if name == path or name.startswith(f"{path}/"):
                copy = Path(place + name)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(text)
        return place + path

    def look(self, app: str, path: str, file: IO[bytes]) -> int:
        assert (app, path, file.read()) == ("blog", "data/rows.db", b"rows")
        return self.rows


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    server = SimpleNamespace(dumped_rows=lambda _: 5, rows=lambda _: made.rows, drop=made.dropped.append)
    for name, value in {
        "STATE": str(tmp_path),
        "DUMPS": f"{tmp_path}/databases",
        "LAST": f"{tmp_path}/last-test.json",
        "PLACE": f"{tmp_path}/place",
        "MANIFEST": f"{tmp_path}/manifest.json",
        "settings": lambda: {"repository": "/mnt/backups", "host": "web1", "postgresql": "17"},
        "apps": lambda: iter(["blog"]),
        "staged": lambda app: f"{tmp_path}/{app}",
        "Server": lambda _: server,
        "SPARE": 0,
    }.items():
        monkeypatch.setattr(proving, name, value)
    snapshot = {"id": "a", "time": "2026-11-20T02:10:00Z", "paths": [f"{tmp_path}/manifest.json"]}
    monkeypatch.setattr(restic.Restic, "snapshots", lambda *_: [snapshot])
    monkeypatch.setattr(restoring, "fetched", lambda _, *words: made.restore(*words))
    monkeypatch.setattr(restoring, "users", lambda _, name: made.users[name])
    monkeypatch.setattr(restoring, "load", lambda _, *words: made.loaded.append(words[2]))
    monkeypatch.setattr(sqlite, "rows_of", made.look)
    return made


def test_a_whole_backup_is_good_and_nothing_stays(host: Host) -> None:
    result = proving.prove()
    assert result["good"] and result["last_good"] == result["began"], result
    assert result["apps"] == {"blog": {"files": 2, "databases": 1, "rows": 7}}
    assert result["databases"] == {"blog": {"rows": 7}}
    # Neither the app's database nor what a restore has fetched is touched.
    assert host.loaded == host.dropped == ["blog.tested"]
    assert not os.path.exists(proving.PLACE) and proving.last_test() == result


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"files": 2}, "restore test of blog: 2 files came back of 3"),
        (
            {"rows": {"data/rows.db": 8}},
            "restore test of blog: database data/rows.db came back with 7 rows of 8",
        ),
        (
            {"rows": {"data/gone.db": 8}},
            "restore test of blog: [Errno 2] No such file or directory: 'gone.db'",
        ),
        ({"bytes": 1 << 60}, f"has no room for its {1 << 41} MiB"),
    ],
)
def test_what_does_not_come_back_is_a_problem_of_its_app(
    change: dict[str, Any], problem: str, host: Host
) -> None:
    good = proving.prove()
    host.manifest["apps"]["blog"] |= change
    result = proving.prove()
    (said,) = result["problems"]
    assert problem in said and not result["good"] and result["last_good"] == good["began"]
    assert result["databases"] == {"blog": {"rows": 7}} and not os.path.exists(proving.PLACE)


def test_a_link_in_the_place_of_a_directory_leads_nowhere(host: Host) -> None:
    real = host.restore

    def restore(snapshot: dict[str, Any], path: str, place: str) -> str:
        top = real(snapshot, path, place)
        if path.endswith("blog"):
            os.rename(f"{top}/data", f"{top}/elsewhere")
            os.symlink("elsewhere", f"{top}/data")
        return top

    host.restore = restore  # type: ignore[method-assign]
    (said,) = proving.prove()["problems"]
    assert said.startswith("restore test of blog: ") and "data" in said


def test_a_dump_of_which_rows_are_missing_is_a_problem(host: Host) -> None:
    host.rows = 3
    host.manifest["apps"]["blog"]["rows"] = {"data/rows.db": 3}
    result = proving.prove()
    assert result["problems"] == ["restore test of database blog: 3 rows came back of 5"]
    assert host.dropped == ["blog.tested"]


def test_a_database_that_no_app_has_any_more_is_read_and_not_loaded(host: Host) -> None:
    host.users["blog"] = []
    result = proving.prove()
    assert result["good"] and result["databases"] == {"blog": {"rows": 5, "loaded": False}}
    assert not host.loaded


def test_what_looks_at_a_database_may_be_an_argument_of_a_unit() -> None:
    # A file is its standard input, so it cannot come by that as others do.
    assert not app_process.CHANGED.search(sqlite.LOOK)


def test_an_app_that_has_left_and_what_was_not_saved_are_passed_over(host: Host) -> None:
    host.manifest["apps"] = {"old": dict(SAVED), "blog": {"error": "disk full"}}
    result = proving.prove()
    assert result["good"] and result["apps"] == {}


def test_a_repository_that_does_not_answer_is_a_problem(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise CommandFailed("restic cat", "restic cat", "exit status 1", "connection refused")

    monkeypatch.setattr(restic.Restic, "snapshots", refuse)
    result = proving.prove()
    assert not result["good"] and "let the host reach the repository" in result["problems"][0]
    monkeypatch.setattr(restic.Restic, "snapshots", lambda *_: [])
    assert "no backup has" in proving.prove()["problems"][0]
