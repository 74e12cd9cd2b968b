"""A deploy with a migration: one database, and an app of two hosts that uses it under load."""

from __future__ import annotations

from pathlib import Path

from databases import Controller, get, pair, sql
from deploying import figure, load
from testinfra.host import Host

#: The second release: its migration changes a table that requests of the first release write to.
MIGRATION = """
    connection.execute("alter table rows add column if not exists note text not null default 'none'")
    connection.execute("create index if not exists by_note on rows (note)")
"""


def test_two_hosts_get_a_migration_while_both_serve(
    controller: Controller, server: Host, client: Host, directory: Path
) -> None:
    for host in (server, client):
        get(host, "pair", "/add")
    with (pair(directory) / "migrate.py").open("a") as file:
        file.write(MIGRATION)
    with (
        load(server, "pair.localhost", ["/add", "/"], rate=10) as here,
        load(client, "pair.localhost", ["/add", "/"], rate=10) as there,
    ):
        controller.good("playbooks/deploy.yml", app="pair")
    failed, total = here.failed + there.failed, here.total + there.total
    figure("postgresql_migration_on_two_hosts_failed_requests", f"{failed}/{total}")
    assert failed == 0 and total > 100, here.failures() + there.failures()
    # Each host has answered with the release before and with the one after.
    assert [len(one.releases) for one in (here, there)] == [2, 2]
    assert sql(server, "select count(distinct note) from rows", "pair") == "1"
    written = int(sql(server, "select count(*) from rows", "pair"))
    assert get(client, "pair", "/").split() == [str(written), "pair", "pair_owner"]
