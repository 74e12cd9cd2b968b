"""The backup server: a host adds backups to its own repository, and deletes none and reads no other."""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

from databases import PASSWORD, Controller
from deploying import figure
from testinfra.host import Host

PROGRAM = "/usr/local/lib/emperor-stack/backup"
SERVER = "/usr/local/lib/emperor-stack/backup-server"
AUTHORITY = "/etc/emperor-stack/backup/authority.pem"


def repository(host: Host) -> str:
    """The URL of the repository of *host*, with its password."""
    settings = json.loads(host.check_output("cat /etc/emperor-stack/backup/settings.json"))
    return str(settings["repository"]).removeprefix("rest:")


def answer(host: Host, url: str, *words: str) -> str:
    """The status that *host* gets; 000 without any answer."""
    options = " ".join(f"'{word}'" for word in words)
    return host.run(
        f"curl -sS -o /dev/null -w '%{{http_code}}' -m 5 --cacert {AUTHORITY} {options} '{url}'"
    ).stdout.strip()


def test_a_host_only_adds_to_its_own_repository(controller: Controller, server: Host, client: Host) -> None:
    client.check_output("%s now", PROGRAM)
    own, other = repository(client), repository(server)
    parts = urlsplit(own)
    theirs = urlsplit(other).path
    nobody = own.replace(f"{parts.username}:{parts.password}@", "")
    files = client.check_output(
        "curl -sS --cacert %s -H 'Accept: application/vnd.x.restic.rest.v2' %s", AUTHORITY, f"{own}snapshots/"
    )
    snapshot = json.loads(files)[0]["name"]
    pack = server.check_output("ls /srv/backups%sdata/* | grep -E '^[0-9a-f]{64}' | head -1", parts.path)
    said = {
        "deleting a backup": answer(client, f"{own}snapshots/{snapshot}", "-XDELETE"),
        "deleting data": answer(client, f"{own}data/{pack}", "-XDELETE"),
        "deleting the configuration": answer(client, f"{own}config", "-XDELETE"),
        "deleting all": answer(client, own, "-XDELETE"),
        "changing data": answer(client, f"{own}data/{pack}", "-XPOST", "-dx"),
        "changing a backup": answer(client, f"{own}snapshots/{snapshot}", "-XPOST", "-dx"),
        "reading another host's": answer(client, own.replace(parts.path, f"{theirs}config")),
        "adding to another host's": answer(
            client, own.replace(parts.path, f"{theirs}snapshots/{snapshot}"), "-XPOST", "-dx"
        ),
        "without a password": answer(client, f"{nobody}config"),
        "another host's password": answer(
            client, own.replace(str(parts.password), str(urlsplit(other).password)) + "config"
        ),
        "without TLS": answer(client, own.replace("https:", "http:") + "config"),
        "another authority": answer(client, f"{own}config", "--cacert", "/etc/ssl/certs/ca-certificates.crt"),
    }
    let_in = {name: status for name, status in said.items() if status.startswith("2")}
    figure("backup_server_refused", f"{len(said) - len(let_in)}/{len(said)}")
    assert let_in == {} and set(said.values()) <= {"000", "400", "401", "403", "404", "405"}, said
    # What the refusals differ from.
    assert answer(client, f"{own}config") == "200"
    assert server.check_output("ls /srv/backups%ssnapshots", parts.path).split() == [snapshot]


def test_the_server_deletes_what_is_old_and_has_been_there_for_long(server: Host) -> None:
    for _ in range(4):
        server.check_output("%s now", PROGRAM)
    place = f"/srv/backups/{server.backend.host}/snapshots"
    before = server.check_output("ls -t %s", place).split()
    assert len(before) > 4
    # One has arrived 40 days ago, all others a moment ago. Not the oldest one, which restic keeps until the days, weeks and
    # months that it shall keep are full.
    old = before[-2]
    server.check_output("touch -d '40 days ago' %s", f"{place}/{old}")
    server.check_output("systemctl start emperor-stack-backup-server")
    assert set(server.check_output("ls %s", place).split()) == {*before} - {old}
    shown = server.run("%s show", SERVER)
    assert shown.rc == 0 and re.search(
        r"backups of 2 hosts: data-debian12 1 .*, data-debian13 \d+", shown.stdout
    )
    # The service that other hosts talk to has no password of the repositories.
    user = "runuser -u restic-rest-server --"
    assert server.run(f"{user} cat /etc/emperor-stack/backup-server/password").rc != 0
    journal = server.check_output(
        "journalctl -u restic-rest-server -u emperor-stack-backup-server --no-pager"
    )
    assert PASSWORD not in journal
