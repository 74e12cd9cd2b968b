"""Whether the databases can be moved to another version of PostgreSQL, and what becomes of a move. Nothing of it runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.database import server, upgrading
from ansible_collections.emperor.stack.plugins.module_utils.database.server import ServerError
from ansible_collections.emperor.stack.plugins.module_utils.debian import checks
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed
from ansible_collections.emperor.stack.plugins.module_utils.programs import postgresql

Make = Callable[..., None]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a cluster of a version, with a port and databases."""
    for module in (server, upgrading):
        monkeypatch.setattr(module, "DATA", str(tmp_path / "data"))
        monkeypatch.setattr(module, "PROGRAMS", str(tmp_path / "programs"))
    monkeypatch.setattr(server, "CLUSTERS", str(tmp_path / "etc"))

    def make(version: str, port: str, *databases: str) -> None:
        for name in ("1", "4", "5", *databases):
            (tmp_path / "data" / version / "main/base" / name).mkdir(parents=True)
        (tmp_path / "etc" / version / "main").mkdir(parents=True, exist_ok=True)
        (tmp_path / "etc" / version / "main/postgresql.conf").write_text(f"port = {port}\n")

    return make


@pytest.mark.parametrize(
    ("there", "wanted", "old"),
    [
        ([("15", "5432", "16384")], "17", "15"),
        # As an upgrade of Debian leaves it: its package has made an empty cluster.
        ([("15", "5432", "16384"), ("17", "5433", "pgsql_tmp")], "17", "15"),
        # Moved already.
        ([("15", "5433", "16384"), ("17", "5432", "16384")], "17", ""),
        ([("17", "5432", "16384")], "17", ""),
        ([("9", "5432", "16384"), ("15", "5433")], "15", "9"),
    ],
)
def test_the_version_that_the_databases_have(
    cluster: Make, there: list[tuple[str, ...]], wanted: str, old: str
) -> None:
    for version, port, *databases in there:
        cluster(version, port, *databases)
    assert upgrading.old_version(upgrading.clusters(), wanted) == old


@pytest.mark.parametrize(
    ("there", "wanted", "reason", "fix"),
    [
        ([], "17", "no cluster listens on port 5432", "run site.yml"),
        ([("15", "5433", "16384")], "17", "no cluster listens on port 5432", "pg_lsclusters"),
        (
            [("17", "5432", "16384")],
            "15",
            "in PostgreSQL 17, and PostgreSQL 15 is wanted",
            "postgresql_version: '17'",
        ),
        (
            [("15", "5432", "16384"), ("17", "5433", "16400")],
            "17",
            "databases in PostgreSQL 17 already",
            "pg_dropcluster --stop 17 main",
        ),
    ],
)
def test_databases_that_cannot_be_moved(
    cluster: Make, there: list[tuple[str, ...]], wanted: str, reason: str, fix: str
) -> None:
    for version, port, *databases in there:
        cluster(version, port, *databases)
    with pytest.raises(ServerError) as refused:
        upgrading.old_version(upgrading.clusters(), wanted)
    place, why, how = str(refused.value).splitlines()
    assert place == "PostgreSQL of this host" and reason in why and fix in how


@pytest.fixture
def host(cluster: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A host with databases in 15 and the programs of 17: what it ran, and how its unit ends."""
    cluster("15", "5432", "16384")
    program = tmp_path / "programs/17/bin/pg_upgrade"
    program.parent.mkdir(parents=True)
    program.write_text("")
    program.chmod(0o755)
    made = SimpleNamespace(
        ran=[], states=[], free=10**9, backup=[], script="", ends=lambda: None, closed=False
    )

    def run(argv: list[str], **_: Any) -> str:
        made.ran.append(" ".join(argv))
        if argv[0] == "du":
            return f"{10**8}\t/x\n"
        if argv[0] == "systemd-run":
            made.script = argv[-1]
        if argv[:2] == ["systemctl", "show"]:
            if len(made.states) == 1:
                made.ends()
            return f"{made.states.pop(0) if made.states else 'inactive'}\n"
        return "the last words" if argv[0] == "journalctl" else ""

    monkeypatch.setattr(upgrading, "run", run)
    monkeypatch.setattr(upgrading.time, "sleep", lambda _: None)
    monkeypatch.setattr(upgrading.shutil, "disk_usage", lambda _: SimpleNamespace(free=made.free))
    monkeypatch.setattr(checks, "of_backup", lambda: made.backup)

    def sql(self: server.Server, script: str) -> str:
        if script.startswith("select"):
            return "kept\nblog_before_1\n" if made.closed else ""
        made.ran.append(f"{self.version}: {script}")
        return ""

    monkeypatch.setattr(server.Server, "sql", sql)
    monkeypatch.setattr(server.Server, "start", lambda self: made.ran.append(f"start {self.version}"))
    return made


def asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["postgresql", *words])
    code = postgresql.main()
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_check(
    host: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def check(*words: str) -> tuple[int, str, str]:
        return asked(monkeypatch, capsys, "upgrade-check", "17", *words)

    assert json.loads(check()[1]) == {"from": "15", "under_way": False}
    host.backup = [
        checks.Problem("backup", "backup of the host", "no backup yet", "run playbooks/backup.yml")
    ]
    code, _, said = check("")
    assert code == 1 and said.startswith("backup of the host\n    reason: no backup yet\n")
    assert said.rstrip().endswith("or add -e accept=backup")
    assert check("backup")[0] == 0
    host.free = 599 * 10**6
    code, _, said = check("backup")
    assert code == 1 and "takes 600 MB of the disk of" in said and "599 MB are free" in said
    (tmp_path / "programs/17/bin/pg_upgrade").unlink()
    assert "PostgreSQL 17 is not installed" in check("backup")[2]
    host.states = ["activating"]
    assert json.loads(check()[1]) == {"from": "", "under_way": True}


def test_a_move(
    host: SimpleNamespace,
    cluster: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cluster("17", "5433")
    host.states = ["inactive", "inactive", "activating", "active"]
    assert asked(monkeypatch, capsys, "upgrade", "17")[:2] == (0, "the databases are in PostgreSQL 17\n")
    assert (
        host.script
        == "pg_dropcluster --stop 17 main && exec pg_upgradecluster --method=upgrade -v 17 15 main"
    )
    assert not [one for one in host.ran if one.startswith("start ")]


def test_no_cluster_is_dropped_where_there_is_none(
    host: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host.states = ["inactive", "inactive", "active"]
    assert asked(monkeypatch, capsys, "upgrade", "17")[0] == 0
    assert "pg_dropcluster" not in host.script


def test_a_move_that_fails_leaves_the_old_cluster_running(
    host: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host.states = ["inactive", "inactive", "activating", "failed"]
    code, _, said = asked(monkeypatch, capsys, "upgrade", "17")
    assert code == 1 and "the move to PostgreSQL 17" in said and "the last words" in said
    assert host.ran[-1] == "start 15" and host.script


@pytest.mark.parametrize("end", ["active", "failed"])
def test_databases_that_allow_no_connections_are_opened_for_the_move(
    host: SimpleNamespace,
    cluster: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    end: str,
) -> None:
    """pg_upgrade refuses them, and a restore keeps some of them aside."""

    def ends() -> None:
        if end == "active":
            cluster("17", "5432", "16384")
            (tmp_path / "etc/15/main/postgresql.conf").write_text("port = 5433\n")

    host.states, host.closed, host.ends = ["inactive", "inactive", end], True, ends
    assert asked(monkeypatch, capsys, "upgrade", "17")[0] == (end == "failed")
    (begun,) = [place for place, one in enumerate(host.ran) if one.startswith("systemd-run")]
    said = [(one, place > begun) for place, one in enumerate(host.ran) if "allow_connections" in one]
    now = "17" if end == "active" else "15"
    assert said == [
        ('15: alter database "kept" with allow_connections true', False),
        ('15: alter database "blog_before_1" with allow_connections true', False),
        (f'{now}: alter database "kept" with allow_connections false', True),
        (f'{now}: alter database "blog_before_1" with allow_connections false', True),
    ]


def test_a_move_that_was_begun_is_waited_for(
    host: SimpleNamespace,
    cluster: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The connection broke: the same command begins no second one."""

    def ends() -> None:
        cluster("17", "5432", "16384")
        (tmp_path / "etc/15/main/postgresql.conf").write_text("port = 5433\n")

    host.states, host.ends = ["activating", "activating", "activating", "active"], ends
    assert asked(monkeypatch, capsys, "upgrade", "17")[:2] == (0, "the databases are in PostgreSQL 17\n")
    assert host.script == ""


def test_a_begun_move_that_fails_says_so(host: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    host.states = ["activating", "failed"]
    with pytest.raises(CommandFailed, match="the move to PostgreSQL 17"):
        upgrading.move("", "17", ())
