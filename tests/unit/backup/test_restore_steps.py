"""A restore in two steps: all that may fail comes first, and leaves the app as it is."""

from __future__ import annotations

import json
import os
import pwd
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.backup import restic, restoring
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed

WANTED = {
    "repository": "rest:http://backup:secret@10.0.0.9:8000/fleet",
    "host": "web1",
    "postgresql": "17",
}


class Repository:
    """What restic would do, on this machine."""

    def __init__(self, directory: Path) -> None:
        self.paths = [f"{directory}/blog/state/backup", restoring.DUMPS]
        self.files: dict[str, str] = {f"{directory}/blog/state/backup/data/page": "as it was"}
        self.refusal: dict[str, str] = {}
        self.asked: list[str] = []

    def run(self, *words: str, **_: Any) -> str:
        self.asked.append(" ".join(words))
        if words[0] in self.refusal:
            raise CommandFailed(
                f"restic {words[0]}", f"restic {words[0]}", "exit status 1", self.refusal[words[0]]
            )
        if words[0] == "cat":
            return ""
        if words[0] == "snapshots":
            of = words[1].removeprefix("--host=")
            paths = self.paths if of == "web1" else self.paths[:1]
            return json.dumps([{"id": f"of-{of}", "time": "2026-11-20T02:10:00Z", "paths": paths}])
        path, target = (word.partition("=")[2] for word in words[2:4])
        for name, text in self.files.items():
            if name.startswith(path):
                copy = Path(target + name)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(text)
        return ""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setattr(layout, "APPS", str(tmp_path))
    monkeypatch.setattr(restoring, "DUMPS", str(tmp_path / "host/databases"))
    monkeypatch.setattr(restoring, "STATE", str(tmp_path / "host"))
    monkeypatch.setattr(restoring, "settings", lambda *_: WANTED)
    monkeypatch.setattr(restoring.pwd, "getpwnam", lambda _: pwd.getpwuid(os.getuid()))
    monkeypatch.setattr(restoring.grp, "getgrnam", lambda _: SimpleNamespace(gr_gid=os.getgid()))
    (tmp_path / "host").mkdir()
    (tmp_path / "blog/state").mkdir(parents=True)
    (tmp_path / "blog/shared/data").mkdir(parents=True)
    (tmp_path / "blog/shared/data/page").write_text("as it is")
    made = Repository(tmp_path)
    monkeypatch.setattr(restic.Restic, "run", made.run)
    return made


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What systemd is told to do, with one worker that runs."""
    told: list[str] = []

    def run(argv: list[str], **_: Any) -> str:
        told.append(" ".join(argv[1:]))
        return "app_blog_web@1.service loaded active\napp_blog_worker_mail@1.service loaded active\n"

    monkeypatch.setattr(restoring, "run", run)
    return told


def test_fetched_files_change_nothing_until_they_are_put_in_place(
    repository: Repository, systemd: list[str], tmp_path: Path
) -> None:
    app = tmp_path / "blog"
    assert restoring.fetch_files("blog", "", "")["files"] == 1
    assert (app / "shared/data/page").read_text() == "as it is" and systemd == []
    asked = len(repository.asked)
    aside = Path(restoring.put_files("blog")["aside"])
    assert (app / "shared/data/page").read_text() == "as it was"
    assert (aside / "data/page").read_text() == "as it is"
    assert re.fullmatch(r"shared\.before-\d{8}T\d{6}Z", aside.name)
    # Visitors wait: the repository is not asked any more. The web server goes on, and says so to them.
    assert len(repository.asked) == asked
    assert systemd[1:] == ["stop -- app_blog_worker_mail@1.service"]
    assert not (app / "state/restore").exists()
    with pytest.raises(restoring.CannotRestore, match="no files of blog were fetched"):
        restoring.put_files("blog")


def test_workers_go_on_when_files_cannot_be_put_in_place(
    repository: Repository, systemd: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restoring.fetch_files("blog", "", "")
    rename = os.rename

    def refused(source: str, target: str) -> None:
        if source == restoring.fetched_files("blog"):
            raise OSError("no")
        rename(source, target)

    monkeypatch.setattr(restoring.os, "rename", refused)
    with pytest.raises(OSError, match="no"):
        restoring.put_files("blog")
    assert (tmp_path / "blog/shared/data/page").read_text() == "as it is"
    assert systemd[-1] == "start -- app_blog_worker_mail@1.service"


def test_a_restore_that_is_killed_leaves_the_app_its_files(
    repository: Repository, systemd: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after each step: the app has its data, and what it had is nowhere deleted by the next try."""
    app = tmp_path / "blog"

    def contents() -> str:
        return (app / "shared/data/page").read_text()

    seen: list[str] = []
    step = restoring.exchange

    class Killed(BaseException):
        pass

    def before(one: str, other: str) -> None:
        seen.append(contents())
        raise Killed

    def after(one: str, other: str) -> None:
        step(one, other)
        seen.append(contents())
        raise Killed

    for second, killed in enumerate((before, after)):
        monkeypatch.setattr(restoring.time, "strftime", lambda *_, n=second: f"20261201T00000{n}Z")
        restoring.fetch_files("blog", "", "")
        monkeypatch.setattr(restoring, "exchange", killed)
        with pytest.raises(Killed):
            restoring.put_files("blog")
    assert seen == ["as it is", "as it was"]
    assert "as it is" in [(path / "data/page").read_text() for path in app.glob("shared.before-*")]


@pytest.mark.parametrize(
    ("when", "said", "fix"),
    [
        (
            "cat",
            "dial tcp 10.0.0.9:8000: connect: connection refused",
            "let the host reach the repository",
        ),
        ("restore", "i/o timeout", "let the host reach the repository"),
        ("snapshots", "Fatal: wrong password or no key found", "set backup_password"),
        ("restore", "ciphertext verification failed", "take an older backup"),
        ("restore", "write /srv/apps/blog/state: no space left on device", "free some space"),
    ],
)
def test_a_repository_that_fails_changes_nothing_and_the_message_says_what_to_do(
    repository: Repository, tmp_path: Path, when: str, said: str, fix: str
) -> None:
    repository.refusal[when] = said
    with pytest.raises(restoring.CannotRestore) as failed:
        restoring.fetch_files("blog", "", "")
    place, *reason, advice = str(failed.value).splitlines()
    assert place == "host web1: backup_repository rest:http://********@10.0.0.9:8000/fleet"
    assert reason[0].startswith(f"  reason: restic {when} failed") and said in reason
    assert advice.startswith(f"  fix:    {fix}")
    assert sorted(path.name for path in (tmp_path / "blog").iterdir()) == ["shared", "state"]
    assert not list((tmp_path / "blog/state").iterdir())
    assert (tmp_path / "blog/shared/data/page").read_text() == "as it is"


class Server:
    """PostgreSQL as `restoring` sees it: databases by name, and what was said."""

    def __init__(self, *databases: str) -> None:
        self.databases = dict.fromkeys(databases)
        self.identities = "the map"
        self.said: list[str] = []
        self.loaded: list[str] = []
        self.refuses = False

    def state(self) -> dict[str, Any]:
        return {"databases": self.databases, "members": [["blog_owner", "blog"], ["shop_owner", "shop"]]}

    def sql(self, statement: str) -> str:
        self.said.append(statement)
        if made := re.match(r'create database "([^"]+)"', statement):
            self.databases[made[1]] = None
        if renamed := re.match(r'alter database "([^"]+)" rename to "([^"]+)"', statement):
            del self.databases[renamed[1]]
            self.databases[renamed[2]] = None
        return ""

    def drop(self, database: str) -> None:
        self.databases.pop(database, None)

    def end_sessions(self, database: str) -> None:
        self.said.append(f"end sessions of {database}")

    def load_dump(self, path: str, database: str, role: str, owner: str) -> None:
        if self.refuses:
            raise CommandFailed("pg_restore", "pg_restore", "exit status 1", "out of memory")
        assert (role, owner) == ("blog", "blog_owner")
        self.loaded.append(f"{Path(path).read_text()} -> {database}")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, repository: Repository) -> Server:
    made = Server("postgres", "blog")
    repository.files[f"{restoring.DUMPS}/blog.dump"] = "dump of blog"
    monkeypatch.setattr(restoring, "Server", lambda _: made)
    monkeypatch.setattr(restoring.identities, "roles", {"the map": {"blog", "shop"}}.__getitem__)
    return made


def test_a_database_of_an_app_that_the_inventory_has_no_more_is_not_loaded(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its role is still there, and PostgreSQL lets nobody in as that role."""
    monkeypatch.setattr(restoring.identities, "roles", {"the map": {"shop"}}.__getitem__)
    with pytest.raises(restoring.CannotRestore, match="no app uses database blog any more"):
        restoring.fetch_database("blog", "", "")
    assert not server.loaded


def test_a_fetched_database_is_loaded_beside_the_present_one(server: Server, repository: Repository) -> None:
    restoring.fetch_database("blog", "", "")
    assert server.loaded == ["dump of blog -> blog.restored"] and {*server.databases} == {
        "postgres",
        "blog",
        "blog.restored",
    }
    assert not [one for one in server.said if "rename" in one or "end sessions" in one]
    assert not os.path.exists(f"{restoring.STATE}/restore")
    asked = len(repository.asked)
    aside = restoring.put_database("blog")["aside"]
    assert re.fullmatch(r"blog_before_\d{8}_\d{6}", aside)
    assert {*server.databases} == {"postgres", "blog", aside} and len(repository.asked) == asked
    with pytest.raises(restoring.CannotRestore, match="was not fetched"):
        restoring.put_database("blog")
    assert "blog" in server.databases


def test_a_database_that_cannot_be_fetched_leaves_the_present_one(
    server: Server, repository: Repository
) -> None:
    server.refuses = True
    with pytest.raises(CommandFailed, match="out of memory"):
        restoring.fetch_database("blog", "", "")
    assert {*server.databases} == {"postgres", "blog"} and not os.path.exists(f"{restoring.STATE}/restore")
    repository.refusal["snapshots"] = "connection refused"
    with pytest.raises(restoring.CannotRestore, match="let the host reach the repository"):
        restoring.fetch_database("blog", "", "")
    with pytest.raises(restoring.CannotRestore, match="has no database shop"):
        repository.refusal.clear()
        restoring.fetch_database("shop", "", "")


def test_a_host_that_had_no_databases_had_them_here(server: Server, repository: Repository) -> None:
    restoring.fetch_database("blog", "old", "")
    assert next(one for one in repository.asked if one.startswith("restore")).startswith("restore of-web1")


def test_what_was_fetched_and_is_not_put_in_place_goes(
    server: Server, repository: Repository, tmp_path: Path
) -> None:
    restoring.fetch_files("blog", "", "")
    restoring.fetch_database("blog", "", "")
    assert os.path.isdir(restoring.fetched_files("blog")) and "blog.restored" in server.databases
    # Twice: a run may be told so before anything was fetched.
    for _ in range(2):
        restoring.forget_files("blog")
        restoring.forget_database("blog")
    assert not list((tmp_path / "blog/state").iterdir()) and {*server.databases} == {"postgres", "blog"}
