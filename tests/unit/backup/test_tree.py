"""What of an app's files gets into a backup: its own files, and nothing that it only points at."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.backup import sqlite, tree
from ansible_collections.emperor.stack.plugins.module_utils.files import trees
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed, TimedOut
from ansible_collections.emperor.stack.plugins.module_utils.host.release_error import ReleaseError

from tools.project import ROOT


def linked(source: Path, target: Path, uid: int | None = None, room: int = 1 << 30) -> tree.Tree:
    target.mkdir()
    made = tree.Tree(os.getuid() if uid is None else uid, room)
    with trees.opened(str(source)) as one, trees.opened(str(target)) as other:
        made.link(one, other)
    return made


def test_files_are_linked_and_links_stay_links(tmp_path: Path) -> None:
    source, target = tmp_path / "shared", tmp_path / "backup"
    (source / "a/b").mkdir(parents=True)
    (source / "a/b/page").write_text("x")
    (source / "a/out").symlink_to("/etc")
    os.mkfifo(source / "pipe")
    made = linked(source, target)
    assert (target / "a/b/page").samefile(source / "a/b/page")
    assert os.readlink(target / "a/out") == "/etc" and not (target / "pipe").exists()
    assert (made.files, made.left_out) == (1, ["pipe"])


def test_a_file_of_somebody_else_stays_out(tmp_path: Path) -> None:
    """As a hard link to another's file, or one that takes the place of the app's own meanwhile."""
    source, target = tmp_path / "shared", tmp_path / "backup"
    source.mkdir()
    (source / "theirs").write_text("x")
    made = linked(source, target, uid=os.getuid() + 1)
    assert made.left_out == ["theirs"] and not list(target.iterdir())


def test_a_database_and_its_journals_are_no_files(tmp_path: Path) -> None:
    source, target = tmp_path / "shared", tmp_path / "backup"
    source.mkdir()
    with sqlite3.connect(source / "rows.db") as database:
        database.execute("create table rows (name)")
    for name in ("rows.db-wal", "rows.db-shm", "rows.db-journal", "other-wal"):
        (source / name).write_text("x")
    (source / "fake.db").write_text("SQLite format 3")
    made = linked(source, target)
    assert made.databases == ["rows.db"] and sorted(os.listdir(target)) == ["fake.db", "other-wal"]


def test_files_that_say_they_are_larger_than_the_disk_fail(tmp_path: Path) -> None:
    """A file of holes takes no space, and restic would read zeros for hours while other apps wait."""
    source = tmp_path / "shared"
    source.mkdir()
    for name in ("a", "b"):
        (source / name).touch()
        os.truncate(source / name, 600)
    assert linked(source, tmp_path / "enough", room=1200).files == 2
    with pytest.raises(ReleaseError, match="larger than the disk, b with 600 bytes"):
        linked(source, tmp_path / "backup", room=1199)


def test_a_tree_that_is_too_deep_fails(tmp_path: Path) -> None:
    source = tmp_path / "shared"
    (source / "/".join("d" * (trees.DEEPEST + 2))).mkdir(parents=True)
    with pytest.raises(ReleaseError, match="directories deep"):
        linked(source, tmp_path / "backup")


def test_a_copy_is_whole_while_somebody_writes(tmp_path: Path) -> None:
    source, target = tmp_path / "odd ?#%.db", tmp_path / "new" / "copy.db"
    writer = sqlite3.connect(source)
    writer.execute("pragma journal_mode=wal")
    writer.execute("create table rows (name)")
    writer.execute("insert into rows values ('acknowledged')")
    writer.commit()
    writer.execute("insert into rows values ('not yet')")
    command = [sys.executable, "-I", "-c", sqlite.COPY, str(source), str(target)]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "1\n"
    writer.close()
    assert os.listdir(target.parent) == ["copy.db"]
    with contextlib.closing(sqlite3.connect(target)) as copy:
        assert copy.execute("select name from rows").fetchall() == [("acknowledged",)]
        assert copy.execute("pragma journal_mode").fetchone() == ("wal",)


def test_a_copy_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    source, target = tmp_path / "rows.db", tmp_path / "new/copy.db"
    with contextlib.closing(sqlite3.connect(source)) as database, database:
        database.execute("create table rows (name)")
        database.execute("create index by_name on rows (name)")
        database.executemany("insert into rows values (?)", [("x" * 500,)] * 100)
    pages = bytearray(source.read_bytes())
    pages[-4096:] = bytes(4096)
    source.write_bytes(pages)
    command = [sys.executable, "-I", "-c", sqlite.COPY, str(source), str(target)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "the copy is not whole" in refused.stderr or "malformed" in refused.stderr


def test_a_restored_copy_is_looked_at_beside_it(tmp_path: Path) -> None:
    """SQLite never opens what came out of the repository where it is, and leaves nothing behind."""
    restored, beside = tmp_path / "rows.db", tmp_path / "cache/looked.db"
    with contextlib.closing(sqlite3.connect(restored)) as database, database:
        database.execute("pragma journal_mode=wal")
        database.execute('create table "odd "" name" (name)')
        database.execute("create table ids (id integer primary key autoincrement)")
        database.execute('create index by_name on "odd "" name" (name)')
        database.executemany('insert into "odd "" name" values (?)', [("x" * 500,)] * 100)
        database.execute("insert into ids default values")
    command = [sys.executable, "-I", "-c", sqlite.LOOK, str(beside)]

    def look() -> subprocess.CompletedProcess[str]:
        with restored.open("rb") as file:
            return subprocess.run(command, stdin=file, capture_output=True, text=True, check=False)

    # With the one row of `sqlite_sequence`.
    assert look().stdout == "102\n" and os.listdir(beside.parent) == []
    # One row has another text in its table than in the index: only a check of the whole database sees that.
    pages = bytearray(restored.read_bytes())
    place = pages.index(b"x" * 500)
    pages[place : place + 9] = b"different"
    restored.write_bytes(pages)
    refused = look()
    assert refused.returncode != 0 and "it is not whole: row" in refused.stderr, refused
    assert refused.stdout == "" and os.listdir(beside.parent) == []


#: An app whose processes open the database for each request: the last one that closes it deletes its -wal.
WRITER = """
import contextlib, sqlite3, sys
while True:
    with contextlib.closing(sqlite3.connect(sys.argv[1], timeout=20)) as database:
        database.execute("pragma journal_mode=wal")
        with database:
            database.execute("create table if not exists rows (name text)")
            database.execute("insert into rows values ('row')")
"""


def test_copies_under_writes_leave_the_database_whole(tmp_path: Path) -> None:
    source, target = tmp_path / "shared", tmp_path / "new/copy.db"
    source.mkdir()
    database = source / "rows.db"
    writers = [subprocess.Popen([sys.executable, "-I", "-c", WRITER, str(database)]) for _ in range(2)]
    try:
        while not database.exists() or database.stat().st_size < 8192:
            time.sleep(0.05)
        for number in range(10):
            # This process opens and closes the files, another one copies the databases: as the program does it.
            assert linked(source, tmp_path / f"staged-{number}").databases == ["rows.db"]
            subprocess.run([sys.executable, "-I", "-c", sqlite.COPY, str(database), str(target)], check=True)
        assert [writer.poll() for writer in writers] == [None, None]
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    for path in (database, target):
        with contextlib.closing(sqlite3.connect(path)) as opened:
            assert opened.execute("pragma integrity_check").fetchall() == [("ok",)]


def test_the_process_that_looks_at_files_has_no_database_open() -> None:
    """Its locks would be lost; see `Tree`."""
    program = ROOT / "plugins/module_utils"
    for path in (*program.glob("backup/*.py"), program / "programs/backup.py"):
        assert not re.search(r"^\s*(import|from)\s.*\bsqlite3\b", without_texts(path), re.MULTILINE), path


def without_texts(path: Path) -> str:
    """The code of *path* without its strings, in which other processes' code stands."""
    return re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL)


def test_an_app_that_locks_its_databases_has_one_time_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other apps wait for their turn."""
    given: list[float] = []

    def locked(*_: object, timeout: float, **__: object) -> str:
        given.append(timeout)
        raise CommandFailed("copying", "python3", "exit status 1", "database is locked")

    def hanging(*_: object, timeout: float, **__: object) -> str:
        given.append(timeout)
        raise TimedOut("copying", "python3", "still running", "")

    monkeypatch.setattr(sqlite, "run_as", locked)
    with pytest.raises(CommandFailed, match="is locked"):
        sqlite.copy("blog", "rows.db", 0, time.monotonic() + 60)
    assert len(given) == sqlite.TRIES and 0 < given[-1] <= given[0] <= 60
    given.clear()
    monkeypatch.setattr(sqlite, "run_as", hanging)
    with pytest.raises(TimedOut):
        sqlite.copy("blog", "rows.db", 0, time.monotonic() + 60)
    assert len(given) == 1
    with pytest.raises(ReleaseError, match=r"take more than 3600 s to copy, rows\.db is left"):
        sqlite.copy("blog", "rows.db", 0, time.monotonic() - 1)
