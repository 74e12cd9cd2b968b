"""What is refused before Debian is upgraded."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.debian import apt, checks, suites
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed
from ansible_collections.emperor.stack.plugins.module_utils.host.release_error import ReleaseError

SAID = """Reading package lists...
The following packages were automatically installed and are no longer required:
  libfoo python3.11
The following packages will be REMOVED:
  libssl3 nginx*
  python3-lib2to3
The following NEW packages will be installed:
  libssl3t64
156 upgraded, 43 newly installed, 20 to remove and 0 not upgraded.
Need to get 1,089.5 MB of archives.
After this operation, 108 MB of additional disk space will be used.
Do you want to continue? [Y/n] N
Abort.
"""


def test_what_apt_says_is_understood() -> None:
    found = apt.parsed(SAID)
    assert found == apt.Forecast(1_089_500_000, 108_000_000, ["libssl3", "nginx", "python3-lib2to3"])


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("Need to get 12.5 kB/89 MB of archives.\n", apt.Forecast(12_500, 0, [])),
        ("After this operation, 108 MB disk space will be freed.\n", apt.Forecast(0, 0, [])),
        ("0 upgraded, 0 newly installed\n", apt.Forecast(0, 0, [])),
    ],
)
def test_what_apt_leaves_out_is_nothing(said: str, found: apt.Forecast) -> None:
    assert apt.parsed(said) == found


@pytest.mark.parametrize(
    ("said", "check", "reason"),
    [
        ({"health": "ok", "lock": None}, None, ""),
        ({"health": "answered 500"}, "status", "it is not healthy: answered 500"),
        ({"health": "answered 503", "maintenance": "2026-12-01T00:00:00Z"}, None, ""),
        ({"error": "no such user"}, "status", "it is not healthy: no such user"),
        ({"health": "ok", "lock": {"kind": "rollback"}}, "", "a rollback is under way"),
    ],
)
def test_an_app_that_is_not_well_is_a_problem(said: dict[str, Any], check: str | None, reason: str) -> None:
    found = checks.of_apps({"blog": said})
    assert [one.check for one in found] == ([] if check is None else [check])
    assert all(reason in one.shown() and one.place == "app blog" for one in found)


@pytest.mark.parametrize(
    ("python", "interpreters", "refused"),
    [
        ("3.11", {}, True),
        ("3.11", {"3.11": "/usr/bin/python3.11"}, True),
        ("3.11", {"3.11": "/opt/python3.11/bin/python3.11"}, False),
        ("3.12", {}, False),
        (None, {}, False),
    ],
)
def test_an_app_that_asks_for_the_python_that_goes(
    python: str | None, interpreters: dict[str, str], refused: bool
) -> None:
    found = checks.of_pythons(suites.BOOKWORM, [{"name": "blog", "python": python}], interpreters)
    assert bool(found) is refused


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (None, None),
        ('{"good": true, "problems": []}', None),
        (
            '{"good": false, "problems": ["the last good backup is older than 36 hours"]}',
            "older than 36 hours",
        ),
        ("nonsense", "Expecting value"),
    ],
)
def test_a_backup_that_is_old_where_there_are_backups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None, reason: str | None
) -> None:
    path = tmp_path / "backup"
    monkeypatch.setattr(checks, "BACKUP", str(path))
    if program is not None:
        path.write_text(f"#!/bin/sh\n[ \"$1\" = status ] && echo '{program}'\n")
        path.chmod(0o755)
    found = checks.of_backup()
    assert bool(found) is (reason is not None)
    assert all(one.check == "backup" and str(reason) in one.reason for one in found)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Free bytes below each path; all of them on one disk."""
    free = {"/var/cache/apt": 10**12, "/usr": 10**12}
    played = SimpleNamespace(
        stat=lambda path: SimpleNamespace(st_dev=1),
        statvfs=lambda path: SimpleNamespace(f_bavail=free[path], f_frsize=1),
    )
    monkeypatch.setattr(checks, "os", played)
    monkeypatch.setattr(checks.release_checks, "check_space", lambda: None)
    return free


def test_what_an_upgrade_would_remove_and_what_serves(disk: dict[str, int]) -> None:
    (one,) = checks.of_forecast(apt.Forecast(0, 0, ["libssl3", "nginx", "python3.11"]), suites.BOOKWORM)
    assert one.reason == "the upgrade would remove nginx, python3.11" and not one.check
    assert checks.of_forecast(apt.Forecast(0, 0, ["libssl3"]), suites.BOOKWORM) == []


def test_the_space_for_what_is_fetched_and_what_is_installed_is_one_disks(disk: dict[str, int]) -> None:
    disk["/var/cache/apt"] = checks.MARGIN + 150
    assert checks.of_forecast(apt.Forecast(50, 100, []), suites.BOOKWORM) == []
    (one,) = checks.of_forecast(apt.Forecast(51, 100, []), suites.BOOKWORM)
    assert one.check == "disk" and "500 MB are free" in one.reason


def test_space_for_the_builds(disk: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise ReleaseError("/srv/apps has 10 MiB free")

    monkeypatch.setattr(checks.release_checks, "check_space", full)
    (one,) = checks.of_forecast(apt.Forecast(0, 0, []), suites.BOOKWORM)
    assert "10 MiB free" in one.reason


@pytest.mark.parametrize(
    ("there", "version", "refused"), [(True, "", True), (True, "15", False), (False, "", False)]
)
def test_a_database_that_would_be_found_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool, version: str, refused: bool
) -> None:
    monkeypatch.setattr(checks, "DATABASES", str(tmp_path if there else tmp_path / "none"))
    monkeypatch.setattr(checks, "REDIS", str(tmp_path / "none"))
    assert bool(checks.of_databases(version)) is refused


def test_redis_whose_place_another_server_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "DATABASES", str(tmp_path / "none"))
    monkeypatch.setattr(checks, "REDIS", str(tmp_path))
    (one,) = checks.of_databases("15")
    assert "Valkey" in one.reason


@pytest.mark.parametrize(("there", "refused"), [("as today", False), ("as before", True), (None, True)])
def test_a_host_that_an_earlier_version_set_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str | None, refused: bool
) -> None:
    path = tmp_path / "start-uwsgi"
    monkeypatch.setattr(checks.release_checks, "START_UWSGI", str(path))
    if there is not None:
        path.write_text(there)
    assert bool(checks.of_program(hashlib.sha256(b"as today").hexdigest())) is refused


@pytest.fixture
def well(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("of_backup", "of_dpkg"):
        monkeypatch.setattr(checks, name, list)
    monkeypatch.setattr(checks, "of_databases", lambda version: [])
    monkeypatch.setattr(checks, "of_program", lambda digest: [])
    monkeypatch.setattr(checks, "statuses", lambda apps, port: {})


def test_sources_that_are_not_there_for_the_next_debian(
    well: None, disk: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(sources: Any) -> apt.Forecast:
        raise CommandFailed("fetching", "apt-get", "exit status 100", "E: c.example has no Release file")

    monkeypatch.setattr(suites, "changes", lambda *_: {"/etc/apt/sources.list": "x"})
    monkeypatch.setattr(apt, "forecast", fail)
    (one,) = checks.problems(suites.BOOKWORM, suites.TRIXIE, checks.Wanted())
    assert "c.example has no Release file" in one.shown() and "disable those" in one.fix


def test_a_host_whose_sources_name_no_version(well: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suites, "changes", lambda *_: {})
    (one,) = checks.problems(suites.BOOKWORM, suites.TRIXIE, checks.Wanted())
    assert "no line names bookworm" in one.reason


def test_a_problem_says_how_it_is_accepted_where_it_can_be() -> None:
    shown = checks.Problem("disk", "disk of /usr", "it is full\nreally", "make space").shown()
    assert shown == (
        "disk of /usr\n    reason: it is full\n            really\n    fix:    make space, or add -e accept=disk"
    )
    assert "accept" not in checks.Problem("", "packages", "x", "y").shown()
