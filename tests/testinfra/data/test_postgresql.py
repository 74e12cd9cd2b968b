"""Databases of apps, on their own host and on another: each app has its own, and nobody else reaches it."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from databases import Controller, app, environment, get, sql
from deploying import Profile, figure
from testinfra.host import Host

LOCAL = "host=/run/postgresql"


def tried(host: Host, name: str, url: str) -> str:
    """What becomes of a connection to *url* by a web process of app *name*."""
    return get(host, name, f"/try?url={quote(url, safe='')}")


def test_each_app_acts_as_the_owner_of_its_database(
    controller: Controller, server: Host, client: Host
) -> None:
    for host, name in ((server, "blog"), (server, "other"), (client, "my-shop")):
        before, session, acting = get(host, name, "/").split()
        after = get(host, name, "/add").split()[0]
        assert (session, acting) == (name, f"{name}_owner") and int(after) == int(before) + 1
    # A worker has the same database as the web processes.
    for database in ("blog", "my-shop"):
        assert sql(server, "select count(*) from rows where name = 'worker'", database) == "1"
    assert "pg_trgm" in sql(server, "select extname from pg_extension", "blog").split()


def test_nobody_on_the_database_host_has_a_password_on_disk(controller: Controller, server: Host) -> None:
    assert environment(server, "blog")["DATABASE_URL"] == "postgresql:///blog?host=/run/postgresql"
    assert sql(server, "select rolpassword is null from pg_authid where rolname = 'blog'") == "t"


def test_what_is_foreign_is_refused(controller: Controller, server: Host, client: Host) -> None:
    """Other apps' roles, users without an app, other hosts, connections without TLS or with another certificate."""
    url = environment(client, "my-shop")["DATABASE_URL"]
    password = url.split(":")[2].split("@")[0]
    plain = url.partition("?")[0]
    said = {
        "another app's database": tried(server, "other", f"postgresql:///blog?{LOCAL}"),
        "another app's role": tried(server, "other", f"postgresql://blog@/blog?{LOCAL}"),
        "the superuser": tried(server, "other", f"postgresql://postgres@/postgres?{LOCAL}"),
        "the common database": tried(server, "other", f"postgresql:///postgres?{LOCAL}"),
        "the template": tried(server, "other", f"postgresql:///template1?{LOCAL}"),
        "another host's database": tried(server, "other", f"postgresql:///my-shop?{LOCAL}"),
        "another app over the network": tried(client, "my-shop", url.replace("/my-shop?", "/blog?")),
        "another role over the network": tried(client, "my-shop", url.replace("//my-shop:", "//blog:")),
        "the superuser over the network": tried(client, "my-shop", url.replace("//my-shop:", "//postgres:")),
        "without TLS": tried(client, "my-shop", f"{plain}?sslmode=disable"),
        "a wrong password": tried(client, "my-shop", url.replace(password, password[::-1])),
        "a certificate of the system": tried(
            client, "my-shop", f"{plain}?sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt"
        ),
    }
    refusal = re.compile(
        r"refused: .*(permission denied|Peer authentication failed|no pg_hba.conf entry|password authentication failed"
        r"|certificate verify failed|pg_hba.conf rejects connection)"
    )
    www = server.run("runuser -u www-data -- psql -h /run/postgresql -d blog -c 'select 1'")
    said["www-data"] = f"refused: {www.stderr}" if www.rc else www.stdout
    # This machine is no host of an app: the firewall of the server drops what it sends.
    reached = controller.reaches(server)
    said["another machine"] = "connected" if reached else "refused: no pg_hba.conf entry"
    said["www-data"] = said["www-data"].replace('role "www-data" does not exist', "permission denied")
    let_in = {name: text for name, text in said.items() if not refusal.search(text)}
    figure("database_foreign_connections_refused", f"{len(said) - len(let_in)}/{len(said)}")
    assert let_in == {}


def test_the_client_has_the_right_connection_without_tricks(controller: Controller, client: Host) -> None:
    """What the refusals above differ from."""
    assert (
        tried(client, "my-shop", environment(client, "my-shop")["DATABASE_URL"])
        == "connected as my-shop_owner"
    )


def test_a_run_without_changes_goes_to_each_host_twice(controller: Controller) -> None:
    controller.environment["ANSIBLE_CALLBACKS_ENABLED"] = "emperor.stack.profile"
    output = controller.good("site.yml", measured=True).output
    del controller.environment["ANSIBLE_CALLBACKS_ENABLED"]
    trips = Profile.of(output).trips
    figure("data_no_change_round_trips_of_two_hosts", trips)
    assert trips <= 4 and "changed=0" in output and not re.search(r"changed=[1-9]", output)


def test_what_somebody_changes_by_hand_is_put_right(controller: Controller, server: Host) -> None:
    sql(server, "alter role blog superuser")
    sql(server, "grant connect on database blog to public")
    sql(server, 'grant "my-shop_owner" to other')
    controller.good("site.yml")
    assert sql(server, "select rolsuper from pg_roles where rolname = 'blog'") == "f"
    assert tried(server, "other", f"postgresql:///blog?{LOCAL}").startswith("refused: ")
    assert tried(server, "other", f"postgresql:///my-shop?{LOCAL}").startswith("refused: ")


def hand_over(server: Host, database: str) -> None:
    """A database that somebody has made, with a table, as docs/databases.md has it."""
    sql(server, "create role somebody")
    sql(server, f"create database {database} owner somebody template template0")
    sql(server, "create table kept (); alter table kept owner to somebody", database)
    for command in (
        "runuser -u postgres -- psql -c 'create role blog_owner nologin' -c 'alter database blog owner to blog_owner'",
        "runuser -u postgres -- psql -d blog -c 'reassign owned by OLD_ROLE to blog_owner'",
    ):
        server.check_output(command.replace("blog", database).replace("OLD_ROLE", "somebody"))


#: As docs/databases.md has it, for an app `blog`.
RESTORE = (
    "cd / && runuser -u blog -- pg_restore --clean --if-exists --no-owner --dbname=blog "
    "< /var/backups/emperor-stack/FILE"
)


def test_a_removed_app_leaves_an_archive_of_its_database(
    controller: Controller, server: Host, client: Host
) -> None:
    rows = {
        name: get(host, name, "/add").split()[0] for host, name in ((client, "my-shop"), (server, "other"))
    }
    before = {host: list(apps) for host, apps in controller.by_host.items()}
    hand_over(server, "next")
    for host, apps in before.items():
        controller.by_host[host] = [
            {"name": one["name"], "state": "absent"} if one["name"] in rows else one for one in apps
        ]
    controller.by_host[client.backend.host] += [app("next")]
    outcome = controller.good("site.yml")
    dumps = {
        name.partition("-2")[0]: name
        for name in server.check_output("ls /var/backups/emperor-stack").split()
        if name.endswith(".dump")
    }
    assert set(dumps) == set(rows)
    for name, dump in dumps.items():
        assert dump in outcome.output and re.fullmatch(rf"{name}-\d{{8}}T\d{{6}}Z\.{name}\.dump", dump)
        path = f"/var/backups/emperor-stack/{dump}"
        assert server.file(path).mode == 0o600
        listed = server.check_output("/usr/lib/postgresql/17/bin/pg_restore --data-only --file=- %s", path)
        assert str(len(re.findall(r"^\d+\t", listed, re.MULTILINE))) == rows[name]
    there = sql(server, "select datname from pg_database union select rolname from pg_roles").split()
    assert not [one for one in there for name in rows if name in one]
    # A database that was handed over.
    assert sql(server, "select tableowner from pg_tables where tablename = 'kept'", "next") == "next_owner"
    assert get(client, "next", "/add").split() == ["1", "next", "next_owner"]
    # And back: an archive in the database of an app that is live again.
    controller.by_host.update(before)
    controller.good("site.yml")
    assert sql(server, "select count(*) from rows", "other") != rows["other"]
    server.check_output(RESTORE.replace("blog", "other").replace("FILE", dumps["other"]))
    assert sql(server, "select count(*) from rows", "other") == rows["other"]
    assert get(server, "other", "/add").split() == [str(int(rows["other"]) + 1), "other", "other_owner"]


@pytest.mark.parametrize("wanted", [{"max_connections": 10}])
def test_what_does_not_fit_is_refused_before_any_host_is_touched(
    controller: Controller, wanted: dict[str, int]
) -> None:
    controller.variables["postgresql_settings"] = wanted
    outcome = controller.play("playbooks/check.yml")
    del controller.variables["postgresql_settings"]
    assert outcome.code != 0 and "and PostgreSQL would allow 10" in outcome.output
