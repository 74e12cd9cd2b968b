"""Which backup is restored, and to whom its files belong then."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.backup import restoring

SNAPSHOTS: list[dict[str, Any]] = [
    {"id": "a", "time": "2026-11-20T02:10:00.123456789Z", "paths": ["/srv/apps/blog/state/backup"]},
    {"id": "b", "time": "2026-11-21T02:10:00.123456789+01:00", "paths": ["/srv/apps/blog/state/backup"]},
    {"id": "c", "time": "2026-11-22T02:10:00.123456789Z", "paths": ["/srv/apps/shop/state/backup"]},
]


@pytest.mark.parametrize(
    ("app", "at", "chosen"),
    [
        ("blog", "", "b"),
        ("shop", "", "c"),
        ("blog", "2026-11-21T01:09", "a"),
        ("blog", "2026-11-21T01:11", "b"),
        ("blog", "2026-11-21T02:11+01:00", "b"),
        ("blog", "2026-11-21", "a"),
    ],
)
def test_the_newest_backup_that_is_not_younger(app: str, at: str, chosen: str) -> None:
    assert restoring.chosen(SNAPSHOTS, f"/srv/apps/{app}/state/backup", at)["id"] == chosen


@pytest.mark.parametrize(
    ("app", "at", "reason"),
    [
        ("blog", "2026-11-19", "no backup at or before 2026-11-19 has"),
        ("news", "", "2026-11-22T02:10:00"),
        ("blog", "yesterday", "'yesterday' is no time"),
    ],
)
def test_without_one_the_message_says_what_there_is(app: str, at: str, reason: str) -> None:
    with pytest.raises(restoring.CannotRestore, match=reason):
        restoring.chosen(SNAPSHOTS, f"/srv/apps/{app}/state/backup", at)


def test_owners_are_the_apps_and_modes_of_directories_those_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers in a backup are those of another host's users."""
    given: dict[str, tuple[int, int]] = {}
    monkeypatch.setattr(restoring.grp, "getgrnam", lambda _: SimpleNamespace(gr_gid=33))
    monkeypatch.setattr(
        restoring.os,
        "chown",
        lambda path, uid, gid, **_: given.__setitem__(os.path.basename(path), (uid, gid)),
    )
    like, top = tmp_path / "shared", tmp_path / "restored"
    (like / "media").mkdir(parents=True)
    (like / "media").chmod(0o2750)
    (top / "media/new").mkdir(parents=True)
    (top / "media").chmod(0o700)
    (top / "media/page").write_text("x")
    (top / "media/page").chmod(0o4755)
    (top / "media/link").symlink_to("/etc/shadow")
    assert restoring.own(str(top), str(like), 999, 998) == 1
    assert {given[name][0] for name in ("page", "new", "link")} == {999}
    assert stat.S_IMODE((top / "media").stat().st_mode) == 0o2750
    assert stat.S_IMODE((top / "media/page").stat().st_mode) == 0o755


def test_the_mode_of_a_directory_is_not_taken_through_a_link_of_the_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring.grp, "getgrnam", lambda _: SimpleNamespace(gr_gid=33))
    monkeypatch.setattr(restoring.os, "chown", lambda *_, **__: None)
    like, top, foreign = (tmp_path / name for name in ("shared", "restored", "foreign"))
    (foreign / "inner").mkdir(parents=True)
    (foreign / "inner").chmod(0o2777)
    like.mkdir()
    (like / "data").symlink_to(foreign)
    (top / "data/inner").mkdir(parents=True, mode=0o700)
    (top / "data/inner").chmod(0o700)
    restoring.own(str(top), str(like), 999, 998)
    assert stat.S_IMODE((top / "data/inner").stat().st_mode) == 0o700
