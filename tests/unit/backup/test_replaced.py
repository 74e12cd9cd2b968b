"""Which data counts as in use, so that a restore of a whole host does not replace it unasked."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.backup import replaced
from ansible_collections.emperor.stack.plugins.module_utils.host import layout

HOUR = 3600.0
BEGAN = 1_764_554_400  # 2025-12-01T02:00:00Z
SAVED: dict[str, Any] = {"began": BEGAN, "apps": {"blog": {"error": "x"}}, "databases": {"blog": {}}}
BACKUP = "in this host's own backup of 2025-12-01T02:00:00Z"


def stamp(hours: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - hours * HOUR))


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An app that has had a file and its first release for an hour."""
    monkeypatch.setattr(layout, "APPS", str(tmp_path))
    place = tmp_path / "blog"
    (place / "state").mkdir(parents=True)
    (place / "shared/data").mkdir(parents=True)
    history(place, 1)
    return place


def history(app: Path, hours: float) -> None:
    lines = [{"time": stamp(hours), "kind": "deploy"}, {"time": stamp(0), "kind": "deploy"}]
    (app / "state/history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def asked(last: dict[str, Any]) -> dict[str, str]:
    return replaced.in_use(["files:blog"], last, "")


def test_files_of_a_new_app_may_be_replaced(app: Path) -> None:
    assert asked({}) == {}
    assert asked({"began": 0, "apps": {"shop": {}}, "databases": {"blog": {}}}) == {}


def test_files_that_this_host_has_saved_are_in_use(app: Path) -> None:
    assert asked(SAVED) == {"files:blog": BACKUP}


def test_files_are_in_use_after_a_day(app: Path) -> None:
    history(app, 25)
    (reason,) = asked({}).values()
    assert reason.startswith("here since 20")


def test_restored_files_are_in_use(app: Path) -> None:
    """The same command again, as one of the apps could not be restored."""
    (app / "shared.before-20261201T101500Z").mkdir()
    (reason,) = asked({}).values()
    assert reason.startswith("restored here at 2")


@pytest.mark.parametrize("missing", ["shared/data", "shared"])
def test_an_app_without_files_has_none_in_use(app: Path, missing: str) -> None:
    (app / "shared/data").rmdir()
    if missing == "shared":
        (app / "shared").rmdir()
    assert asked(SAVED) == {}


class Server:
    """PostgreSQL with databases of so many hours."""

    hours: dict[str, float] = {}  # noqa: RUF012

    def __init__(self, version: str) -> None:
        assert version == "17"

    def sql(self, _: str) -> str:
        return "".join(f"{name}|{time.time() - hours * HOUR}\n" for name, hours in self.hours.items())

    def state(self) -> dict[str, Any]:
        owned = {name: {"owner": f"{name.partition('_')[0]}_owner"} for name in self.hours}
        return {"databases": owned}


@pytest.mark.parametrize(
    ("databases", "last", "reason"),
    [
        ({"blog": 1}, {}, None),
        ({"blog": 1, "shop": 99}, {}, None),
        ({"shop": 99}, SAVED, None),
        ({"blog": 1}, SAVED, BACKUP),
        ({"blog": 25}, {}, "here since 20"),
        ({"blog": 1, "blog_before_20261201_101500": 90}, {}, "restored here at 2026-12-01T10:15:00Z"),
        # No restore has named it so.
        ({"blog": 1, "blog_before_lunch": 90}, {}, None),
    ],
)
def test_databases(
    databases: dict[str, float], last: dict[str, Any], reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaced, "Server", Server)
    monkeypatch.setattr(Server, "hours", databases)
    found = replaced.in_use(["database:blog"], last, "17")
    assert list(found) == (["database:blog"] if reason else [])
    assert found.get("database:blog", "").startswith(reason or "")


def test_a_host_without_postgresql_has_no_database_in_use() -> None:
    assert replaced.in_use(["database:blog"], SAVED, "") == {}
