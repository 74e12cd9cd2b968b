"""Backups under writes, and the way back: of one app beside live ones, and onto a host with other user numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from databases import Controller, get, sql
from deploying import figure, load
from testinfra.host import Host

PROGRAM = "/usr/local/lib/emperor-stack/backup"

#: Twenty times: what was acknowledged before, then a copy of both databases, then what that has. Processes of their own ask
#: SQLite: one that had a connection to the app's database and then looked at its files, as a backup does, would lose its
#: locks, and destroy the database.
TWENTY = r"""
import json, os, re, subprocess, sys
sys.path.insert(0, "/usr/local/lib/emperor-stack/python")
from emperor_stack.backup import saving
from emperor_stack.database.server import Server
os.makedirs(saving.DUMPS, exist_ok=True)
ASK = (
    "import sqlite3, sys; one = sqlite3.connect(sys.argv[1]); print("
    "*one.execute('select count(*) from rows').fetchone(), *one.execute('pragma integrity_check(1)').fetchone())"
)
def asked(path, *before):
    argv = [*before, "python3", "-c", ASK, path]
    count, sound = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split(maxsplit=1)
    return int(count), sound.strip() == "ok"
whole = []
for _ in range(20):
    sqlite_before, sound = asked("/srv/apps/blog/shared/data/rows.sqlite3", "runuser", "-u", "blog", "--")
    assert sound, "the app's own database is not whole"
    postgresql_before = int(Server("17").sql("select count(*) from public.rows", "blog"))
    saving.stage("blog")
    saving.dump("17")
    sqlite_rows, sound = asked("/srv/apps/blog/state/backup/data/rows.sqlite3")
    dump = "/var/lib/emperor-stack/backup/databases/blog.dump"
    listed = subprocess.run(
        ["/usr/lib/postgresql/17/bin/pg_restore", "--data-only", "--table=rows", "--file=-", dump],
        capture_output=True, text=True, check=True,
    ).stdout
    postgresql_rows = len(re.findall(r"^\d+\t", listed, re.MULTILINE))
    whole.append(sound and sqlite_rows >= sqlite_before > 0 and postgresql_rows >= postgresql_before > 0)
print(json.dumps(whole))
"""

#: Overwrites all of each file.
DAMAGE = """
import os, sys
for path in sys.argv[1:]:
    with open(path, "r+b") as file:
        file.write(b"x" * os.path.getsize(path))
"""

#: A backup, and whether any process had the password in its arguments meanwhile.
WATCHED = """
import glob, json, subprocess, sys
backup = subprocess.Popen([sys.argv[1], "now"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
password = open("/etc/emperor-stack/backup/password", "rb").read().strip()
seen = 0
while backup.poll() is None:
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            arguments = open(path, "rb").read()
        except OSError:
            continue
        seen += password in arguments
said = backup.stdout.read()
print(json.dumps({"code": backup.returncode, "said": said, "seen": seen}))
"""


def rows(server: Host) -> tuple[int, int]:
    """How many rows visitors have in SQLite and in PostgreSQL."""
    path = "/srv/apps/blog/shared/data/rows.sqlite3"
    count = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('select count(*) from rows').fetchone())"
    in_sqlite = server.check_output("runuser -u blog -- python3 -c %s %s", count, path)
    return int(in_sqlite), int(sql(server, "select count(*) from rows where name = 'row'", "blog"))


def wrong_owners(host: Host, name: str) -> list[str]:
    """Files and directories of *name* that do not belong to it; the top is root's."""
    return host.check_output("find /srv/apps/%s/shared -mindepth 1 ! -user %s", name, name).split()


def test_backups_under_writes_are_whole(controller: Controller, server: Host) -> None:
    get(server, "blog", "/both")
    with load(server, "blog.localhost", ["/both"], rate=10) as result:
        whole = json.loads(server.check_output("python3 -c %s", TWENTY))
        backup = json.loads(server.check_output("python3 -c %s %s", WATCHED, PROGRAM))
    figure("backups_whole", f"{sum(whole)}/{len(whole)}")
    figure("backup_failed_requests", f"{result.failed}/{result.total}")
    assert all(whole) and len(whole) == 20
    assert result.failed == 0 and result.total > 100, result.failures()
    assert backup["code"] == 0 and backup["seen"] == 0, backup
    assert re.search(
        r"backup of .*: 4 apps, .* 1 SQLite databases, \d databases of PostgreSQL", backup["said"]
    )


def test_status_has_the_last_backup_of_each_host(
    controller: Controller, server: Host, client: Host, directory: Path
) -> None:
    """The server made one in the test before this, the client none yet."""
    path = directory / "status.json"
    said = controller.good("playbooks/status.yml", json=str(path)).output
    status = json.loads(path.read_text())
    saved = status[server.backend.host]["blog"]["backup"]
    missing = status[client.backend.host]["mail-queue"]["backup"]
    assert saved["good"] and 0 <= saved["hours"] < 1 and saved["problems"] == [], saved
    assert not missing["good"] and missing["problems"] == ["no backup yet"], missing
    assert saved["text"] in said and "no backup yet" in said


def test_nobody_but_root_reads_the_password(controller: Controller, server: Host) -> None:
    for name in ("password", "settings.json"):
        assert server.run("runuser -u blog -- cat /etc/emperor-stack/backup/%s", name).rc != 0
    assert server.check_output("systemctl is-enabled emperor-stack-backup.timer") == "enabled"


def test_an_app_comes_back_as_it_was_while_others_serve(controller: Controller, server: Host) -> None:
    server.check_output(
        "runuser -u blog -- sh -c 'echo before >/srv/apps/blog/shared/data/page; mkdir -p /srv/apps/blog/shared/data/a/b'"
    )
    before = rows(server)
    said = controller.good("playbooks/backup.yml", "--limit", server.backend.host, action="now").output
    assert "0 SQLite" not in said and "problem" not in said
    for _ in range(5):
        get(server, "blog", "/both")
    server.check_output("runuser -u blog -- sh -c 'echo after >/srv/apps/blog/shared/data/page'")
    with (
        load(server, "other.localhost", ["/"], rate=30) as beside,
        load(server, "blog.localhost", ["/"], rate=10) as visitors,
    ):
        outcome = controller.good("playbooks/restore.yml", app="blog")
    after = rows(server)
    figure("restored_rows", f"{sum(after)}/{sum(before)}")
    # The page of maintenance is all that visitors see instead, and only after everything was fetched.
    away = [answer for answer in visitors.answers if answer.get("failure")]
    assert away
    seconds = away[-1]["ended"] - away[0]["began"]
    figure("restore_maintenance_seconds", f"{seconds:.1f}")
    assert {answer["failure"] for answer in away} == {"status 503"}
    figure("restore_beside_failed_requests", f"{beside.failed}/{beside.total}")
    assert after == before and server.check_output("cat /srv/apps/blog/shared/data/page") == "before"
    assert beside.failed == 0 and beside.total > 50, beside.failures()
    # Visitors reach it again, and what was there is kept.
    assert get(server, "blog", "/both").split()[0] == str(before[0] + 1)
    (aside,) = re.findall(r"/srv/apps/blog/shared\.before-\w+", outcome.output)
    assert server.check_output("cat %s/data/page", aside) == "after"
    assert re.search(r"what was there is database blog_before_\d{8}_\d{6}", outcome.output)
    assert wrong_owners(server, "blog") == []


def test_a_restore_test_gets_back_what_was_saved(
    controller: Controller, server: Host, directory: Path
) -> None:
    controller.good("playbooks/backup.yml", "--limit", server.backend.host, action="now")
    before = json.loads(server.check_output("cat /var/lib/emperor-stack/backup/manifest.json"))
    said = controller.good("playbooks/backup.yml", "--limit", server.backend.host, action="test").output
    tested = json.loads(server.check_output("cat /var/lib/emperor-stack/backup/restore-test.json"))
    saved = sum(sum(one["rows"].values()) for one in before["apps"].values())
    # Nobody has written since the backup; a row of the health check may have come.
    in_postgresql = int(sql(server, "select count(*) from rows", "blog"))
    back = sum(one["rows"] for one in tested["apps"].values())
    figure("restore_test_rows", f"{back + tested['databases']['blog']['rows']}/{saved + in_postgresql}")
    assert tested["good"] and tested["problems"] == [] and back == saved > 0, tested
    assert 0 < tested["databases"]["blog"]["rows"] <= in_postgresql
    assert re.search(r"restore test of .*: 4 apps, \d+ files, \d databases of PostgreSQL, \d+ rows", said)
    path = directory / "tested.json"
    controller.good("playbooks/status.yml", "--limit", server.backend.host, json=str(path))
    status = json.loads(path.read_text())[server.backend.host]["blog"]["backup"]["restore_test"]
    assert status["good"] and 0 <= status["hours"] < 1
    # Nothing of it stays: no files, no database, no copy in the app's own directory.
    assert server.check_output("ls -A /var/lib/emperor-stack/backup").split() == [
        "databases",
        "last.json",
        "manifest.json",
        "restore-test.json",
    ]
    assert sql(server, "select datname from pg_database where datname like '%.%'") == ""
    assert server.check_output("ls -A /srv/apps/blog/cache/backup 2>/dev/null || true") == ""


def test_a_database_goes_back_to_any_moment_since_its_backup(controller: Controller, server: Host) -> None:
    """Rows that were written after the backup, and deleted since then, come from the archive of all changes."""
    server.check_output("systemctl start emperor-stack-postgresql-archive")
    made = "set role blog_owner; create table moments (n int); insert into moments select generate_series(1, 1000)"
    sql(server, made, "blog")
    # A second is the least that a person would name.
    moment = server.check_output("sleep 1.1; date --utc +%Y-%m-%dT%H:%M:%S; sleep 1.1")
    sql(server, "drop table moments", "blog")
    with load(server, "other.localhost", ["/"], rate=10) as beside:
        said = controller.good("playbooks/restore.yml", app="blog", at=moment).output
    rows = int(sql(server, "select count(*) from moments", "blog"))
    figure("pitr_rows", f"{rows}/1000")
    figure("pitr_beside_failed_requests", f"{beside.failed}/{beside.total}")
    assert rows == 1000 and f"fetched database blog as of {moment}" in said
    assert beside.failed == 0 and beside.total > 20, beside.failures()
    assert get(server, "blog", "/").endswith("blog blog_owner")
    assert not server.file("/var/lib/postgresql/17/emperor-restore").exists
    future = controller.play("playbooks/restore.yml", app="blog", at="2099-01-01T00:00")
    assert future.code != 0 and "is still to come" in future.output


def test_a_damaged_repository_is_found_and_changes_nothing(controller: Controller, server: Host) -> None:
    here = f"/srv/backups/{server.backend.host}"
    server.check_output(
        "cp -a /srv/backups /srv/aside && find %s/data -type f -exec python3 -c %s {} +", here, DAMAGE
    )
    # Nor is there what the run before has fetched, whose database it could not get.
    listed = "ls /srv/apps/blog /srv/apps/blog/state"
    before = server.check_output(listed)
    assert "restore" not in before.split(), before
    tested = server.run("%s test", PROGRAM)
    with load(server, "blog.localhost", ["/"], rate=10) as visitors:
        damaged = controller.play("playbooks/restore.yml", app="blog")
    # In the same directory, which the service has mounted.
    server.check_output("rm -r /srv/backups/* && cp -a /srv/aside/. /srv/backups/")
    figure("restore_damaged_failed_requests", f"{visitors.failed}/{visitors.total}")
    assert visitors.failed == 0 and visitors.total > 20, visitors.failures()
    # Of the app or of the backup as a whole: its list is in one of the packs.
    assert tested.rc == 1 and re.search("problem: (restore test of|host )", tested.stdout), tested.stdout
    assert damaged.code != 0 and "take an older backup with -e at=TIME" in damaged.output
    assert server.check_output(listed) == before
    assert server.run("%s test", PROGRAM).rc == 0


def test_what_cannot_be_restored_changes_nothing(controller: Controller, server: Host) -> None:
    before = server.check_output("ls /srv/apps/blog")
    outcome = controller.play("playbooks/restore.yml", app="blog", at="2020-01-01T00:00")
    assert outcome.code != 0 and "no backup at or before 2020-01-01T00:00 has" in outcome.output
    assert server.check_output("ls /srv/apps/blog") == before
    server.check_output("systemctl stop restic-rest-server")
    with load(server, "blog.localhost", ["/"], rate=10) as visitors:
        silent = controller.play("playbooks/restore.yml", app="blog")
    server.check_output("systemctl start restic-rest-server")
    figure("restore_unreachable_failed_requests", f"{visitors.failed}/{visitors.total}")
    assert visitors.failed == 0 and visitors.total > 50, visitors.failures()
    assert silent.code != 0 and "connection refused" in silent.output
    assert (
        "backup_repository rest:https://" in silent.output
        and "let the host reach the repository" in silent.output
    )
    assert server.check_output("ls /srv/apps/blog") == before
    assert get(server, "blog", "/").endswith("blog blog_owner")


def test_a_host_comes_back_by_one_command_where_users_have_other_numbers(
    controller: Controller, server: Host, client: Host
) -> None:
    """One site.yml and one restore.yml: nothing is done by hand. An app without a backup fails alone."""
    expected = rows(server)
    controller.good("playbooks/backup.yml", "--limit", server.backend.host, action="now")
    on_server, on_client = (controller.by_host[host.backend.host] for host in (server, client))
    moved = [one for one in on_server if one["name"] in ("blog", "other")]
    # The backups of the server have no files of my-shop, which the client has had so far.
    shop = next(one for one in on_client if one["name"] == "my-shop")
    controller.by_host |= {
        server.backend.host: [one for one in on_server if one not in moved],
        client.backend.host: [*moved, shop],
    }
    # Whatever numbers the two hosts have given so far.
    client.check_output("for number in 1 2 3 4 5; do useradd --system shifted-$number; done")
    controller.good("site.yml")
    # Somebody wants no visitors in it yet.
    client.check_output("touch %s", layout.maintenance("other"))
    named = {"host": client.backend.host, "from": server.backend.host}
    refused = controller.play("playbooks/restore.yml", **named)
    # The databases are on the other host, which is not lost: a restore has put this one there, see above.
    assert refused.code != 0 and "database blog: restored here at" in refused.output
    assert "database other: in this host's own backup of" in refused.output
    assert client.run("ls -d /srv/apps/*/shared.before-*").rc != 0
    outcome = controller.play("playbooks/restore.yml", confirm=True, **named)
    assert outcome.code != 0
    table = dict(
        re.findall(r"^ *(blog|other|my-shop) .*?(not restored|restored)", outcome.output, re.MULTILINE)
    )
    assert table == {"blog": "restored", "other": "restored", "my-shop": "not restored"}, outcome.output
    assert re.search(r"my-shop: no backup has /srv/apps/my-shop/state/backup", outcome.output)
    kept = client.file(layout.maintenance("other")).exists
    assert kept and "maintenance mode was on before, and stays on" in outcome.output
    client.check_output("rm %s", layout.maintenance("other"))
    assert server.check_output("id -u blog") != client.check_output("id -u blog")
    wrong = [path for name in ("blog", "other") for path in wrong_owners(client, name)]
    found = (
        int(get(client, "blog", "/both").split()[0]) - 1,
        int(sql(server, "select count(*) from rows where name = 'row'", "blog")) - 1,
    )
    # What a person would have to do after it.
    steps = {
        "give files to the app": bool(wrong),
        "put rows back": found != expected,
        "end maintenance": client.file(layout.maintenance("blog")).exists,
        "start a worker": "active" not in client.run("systemctl is-active 'app_blog_jobs@*'").stdout.split(),
        "restart an app": not all(get(client, name, "/").endswith(f"{name} {name}_owner") for name in table),
    }
    figure("restore_manual_steps", sum(steps.values()))
    assert not any(steps.values()), steps
    figure("restored_rows_on_a_fresh_host", f"{sum(found)}/{sum(expected)}")
    figure("wrong_owners", len(wrong))
    assert wrong == [] and found == expected
    controller.by_host |= {server.backend.host: on_server, client.backend.host: on_client}
