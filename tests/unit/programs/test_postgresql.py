"""What the program of role postgresql does with a server, which is not there."""

from __future__ import annotations

import grp
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.database import identities
from ansible_collections.emperor.stack.plugins.module_utils.database import server as database_server
from ansible_collections.emperor.stack.plugins.module_utils.database.server import Server, ServerError
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.programs import postgresql

BLOG = {"name": "blog", "database": "blog", "connections": 13, "password": "", "extensions": ["pg_trgm"]}
ROLE = {"login": True, "limit": 13, "password": None, "strong": False}


class Fake:
    """A server that has all that app `blog` wants."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.extensions = {"plpgsql", "pg_trgm"}
        self.answer: dict[str, Any] = {
            "digest": "d1",
            "restart": [],
            "checksums": "on",
            "roles": {"blog": ROLE, "blog_owner": {**ROLE, "login": False}},
            "members": [["blog_owner", "blog"]],
            "databases": {"blog": {"owner": "blog_owner", "public": False}},
            "acting": [["blog", "blog", ["role=blog_owner"]]],
        }

    def state(self) -> dict[str, Any]:
        return self.answer

    def sql(self, script: str, database: str = "postgres", what: str = "") -> str:
        self.said.append(f"{database}: {script}")
        return ""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    map_of_users = tmp_path / "17/main/pg_ident.conf"
    map_of_users.parent.mkdir(parents=True)
    map_of_users.write_text(identities.merged("# MAPNAME\nadmins ann postgres\n", ["blog"]))
    monkeypatch.setattr(database_server, "CLUSTERS", str(tmp_path))
    monkeypatch.setattr(identities, "write_atomically", lambda path, text, *_: Path(path).write_text(text))
    monkeypatch.setattr(grp, "getgrnam", lambda _: grp.getgrgid(os.getgid()))
    monkeypatch.setattr(postgresql, "PLACE", str(tmp_path))
    monkeypatch.setattr(layout, "BACKUPS", str(tmp_path / "backups"))
    monkeypatch.setattr(Server, "state", fake.state)
    monkeypatch.setattr(Server, "sql", fake.sql)
    monkeypatch.setattr(Server, "installed_extensions", lambda *_: fake.extensions)
    for name in ("check_version", "start", "wait"):
        monkeypatch.setattr(Server, name, lambda *_, name=name: fake.said.append(name))
    for name in ("control", "load"):
        monkeypatch.setattr(Server, name, lambda _, word, name=name: fake.said.append(f"{name} {word}"))
    monkeypatch.setattr(Server, "add_checksums", lambda _: fake.said.append("checksums"))
    monkeypatch.setattr(Server, "dump", lambda _, database, path: Path(path).write_text(database))
    for file, wanted in (("wanted", {"apps": [BLOG]}), ("absent", {"absent": ["blog"], "archive": True})):
        (tmp_path / f"{file}.json").write_text(json.dumps({"digest": "d1", "version": "17", **wanted}))
    return fake


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["postgresql", command])
    code = postgresql.main()
    return code, "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("changes", "extensions", "said"),
    [
        ({}, {"pg_trgm"}, "d1\n"),
        ({"digest": "old"}, {"pg_trgm"}, "differs: PostgreSQL has not loaded its settings\n"),
        (
            {"restart": ["max_connections"]},
            {"pg_trgm"},
            "differs: PostgreSQL has to restart for max_connections\n",
        ),
        ({"members": []}, {"pg_trgm"}, 'differs: grant "blog_owner" to "blog"\n'),
        ({}, set(), "differs: database blog lacks extension pg_trgm\n"),
    ],
)
def test_the_digest_is_said_only_of_a_server_that_has_all_of_it(
    server: Fake,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    extensions: set[str],
    said: str,
) -> None:
    server.answer |= changes
    server.extensions = extensions
    assert run(monkeypatch, capsys, "state") == (0, said)
    assert server.said == []


@pytest.mark.parametrize(
    ("databases", "done"), [({"postgres": {}, "template1": {}}, True), ({"postgres": {}, "shop": {}}, False)]
)
def test_checksums_are_added_to_a_cluster_without_data_only(
    server: Fake,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    databases: dict[str, Any],
    done: bool,
) -> None:
    server.answer |= {
        "checksums": "off",
        "databases": {name: {"owner": "postgres", "public": False} for name in databases},
    }
    code, said = run(monkeypatch, capsys, "apply")
    assert code == 0 and ("checksums" in server.said) is done and ("checksums are off" in said) is not done


def test_apply_restarts_only_for_what_needs_it(
    server: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, capsys, "apply") == (0, "")
    assert server.said == ["check_version", "start", "load d1"]
    server.answer["restart"] = ["shared_buffers"]
    assert run(monkeypatch, capsys, "apply") == (0, "PostgreSQL restarted for shared_buffers\n")
    assert "control restart" in server.said


def test_a_map_of_users_without_those_who_restore_differs_and_keeps_lines_of_others(
    server: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "17/main/pg_ident.conf"
    for before in (
        "# MAPNAME\nadmins ann postgres",
        identities.merged("# MAPNAME\nadmins ann postgres", ["old"]),
    ):
        path.write_text(before)
        assert run(monkeypatch, capsys, "state")[1].startswith("differs: PostgreSQL's map of users")
        assert run(monkeypatch, capsys, "apply") == (0, "")
        lines = path.read_text().splitlines()
        assert lines[:2] == ["# MAPNAME", "admins ann postgres"]
        assert lines[3:-1] == ['emperor-restore postgres "blog"']
        assert identities.roles(str(path)) == {"blog"}
        assert run(monkeypatch, capsys, "state") == (0, "d1\n")


def test_an_error_is_a_line_and_a_status(
    server: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: Server) -> None:
        raise ServerError("this host has a cluster of PostgreSQL 15")

    monkeypatch.setattr(Server, "check_version", refuse)
    assert run(monkeypatch, capsys, "apply") == (1, "this host has a cluster of PostgreSQL 15\n")
    assert run(monkeypatch, capsys, "drop")[0] == 2


def test_an_absent_app_goes_after_its_archive(
    server: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    server.answer["databases"]["blog_before_20261201_080941"] = {"owner": "blog_owner", "public": False}
    assert run(monkeypatch, capsys, "absent-state") == (0, "differs: blog\n")
    code, said = run(monkeypatch, capsys, "remove")
    (archive,) = (tmp_path / "backups").iterdir()
    assert code == 0 and said == f"blog is in {archive}\n" and archive.read_text() == "blog"
    assert server.said == [
        # A database that its app made a template of could not be dropped.
        'postgres: alter database "blog" with allow_connections true is_template false',
        'postgres: drop database "blog" with (force)',
        'postgres: alter database "blog_before_20261201_080941" with allow_connections true is_template false',
        'postgres: drop database "blog_before_20261201_080941" with (force)',
        'postgres: begin; drop role "blog"; drop role "blog_owner"; commit',
    ]


def test_a_removal_that_was_killed_goes_on(
    server: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer["databases"] = {}
    assert run(monkeypatch, capsys, "absent-state") == (0, "differs: blog\n")
    assert run(monkeypatch, capsys, "remove") == (0, "")
    assert server.said == ['postgres: begin; drop role "blog"; drop role "blog_owner"; commit']


def test_a_role_of_somebody_else_with_the_name_of_an_absent_app_stays(
    server: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer |= {"members": [], "databases": {}, "roles": {"blog": {**ROLE, "strong": True}}}
    assert run(monkeypatch, capsys, "absent-state") == (0, "d1\n")
    assert run(monkeypatch, capsys, "remove") == (0, "") and server.said == []


def test_a_database_that_another_app_uses_stays(
    server: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    server.answer["members"] = [["blog_owner", "blog"], ["blog_owner", "worker"]]
    assert run(monkeypatch, capsys, "remove") == (0, "")
    assert server.said == [
        'blog: reassign owned by "blog" to "blog_owner"; drop owned by "blog"',
        'postgres: begin; drop role "blog"; commit',
    ]
