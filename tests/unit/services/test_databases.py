"""Databases of apps: who has which, from where, and by which URL."""

from __future__ import annotations

import base64
import hashlib
import hmac
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.filter import services
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.faults import Unresolved
from ansible_collections.emperor.stack.plugins.plugin_utils.services import (
    authority,
    databases,
    derived,
    redis,
)
from ansible_collections.emperor.stack.plugins.plugin_utils.services.connections import connections
from ansible_collections.emperor.stack.plugins.plugin_utils.services.problems import problems

SECRET = "a secret of thirty-two characters, or more"


def app(name: str = "blog", **keys: Any) -> dict[str, Any]:
    return {
        "name": name,
        "domains": [f"{name}.example.com"],
        "source": {"path": "code"},
        "wsgi": "app:app",
        "database": "postgresql",
        **keys,
    }


def on(name: str, *apps: dict[str, Any], address: str = "") -> databases.HostOfApps:
    return databases.HostOfApps(name, list(apps), address)


def test_an_app_on_its_databases_host_needs_no_password() -> None:
    (found,) = databases.databases("web1", [on("web1", app(web={"processes": 2, "threads": 3}))])
    assert found == {
        "name": "blog",
        "database": "blog",
        "extensions": [],
        "connections": 2 * 6 + databases.SPARE,
        "local": True,
        "addresses": [],
        "password": "",
    }


def test_apps_of_other_hosts_have_an_address_each_and_one_password() -> None:
    hosts = [on("web2", app(), address="10.0.0.3"), on("web1", app(), address="10.0.0.2")]
    (found,) = databases.databases("db1", hosts, SECRET)
    assert (found["local"], found["addresses"]) == (False, ["10.0.0.2", "10.0.0.3"])
    assert found["password"] == derived.verifier(SECRET, "postgresql", "blog")
    assert found["connections"] == 2 * databases.connections_of(databases.with_services([app()])[0])


@pytest.mark.parametrize("secret", ["", "guess"])
def test_nothing_is_derived_from_a_secret_that_everybody_could_guess(secret: str) -> None:
    """`site.yml --limit db1` checks no apps, and so no secret either."""
    for derive in (
        lambda: databases.databases("db1", [on("web1", app(), address="10.0.0.2")], secret),
        lambda: connections([app()], "web1", "db1", "10.0.0.5", secret, {}),
        lambda: redis.admin_password(secret, "db1"),
        lambda: authority.certificate(secret),
    ):
        with pytest.raises(derived.TooShort, match="vault_services_secret is missing or shorter than 32"):
            derive()


def test_apps_without_a_database_of_ours_have_none() -> None:
    others = [
        app(database=None),
        app("shop", database={"url": "SHOP_DB"}),
        {"name": "old", "state": "absent"},
    ]
    assert databases.databases("web1", [on("web1", *others)]) == []


@pytest.mark.parametrize(
    ("keys", "connections"),
    [
        ({}, 2 * (databases.UNKNOWN_PROCESSES * 2) + databases.SPARE),
        ({"web": {"processes": 4, "threads": 8}}, 2 * 32 + databases.SPARE),
        (
            {"wsgi": None, "asgi": "app:app", "web": {"processes": 2}},
            2 * 2 * databases.POOL + databases.SPARE,
        ),
        (
            {"web": {"processes": 1, "threads": 1}, "workers": {"jobs": {"command": "x", "count": 5}}},
            2 * 6 + databases.SPARE,
        ),
        (
            {"web": {"processes": 1, "threads": 1}, "schedule": {"nightly": {"command": "x", "every": "1h"}}},
            2 + 1 + databases.SPARE,
        ),
    ],
)
def test_connections_are_counted_for_the_old_and_the_new_release(
    keys: dict[str, Any], connections: int
) -> None:
    (completed,) = databases.with_services([app(**keys)])
    assert databases.connections_of(completed) == connections


@pytest.mark.parametrize(("wanted", "count"), [(1, 100), (80, 100), (81, 200), (480, 500)])
def test_a_further_app_seldom_needs_a_restart(wanted: int, count: int) -> None:
    assert databases.connection_count([{"connections": wanted}]) == count


def test_an_app_that_one_host_keeps_does_not_go() -> None:
    gone = {"name": "old", "state": "absent"}
    assert services.postgresql_absent({"web1": {"python_apps": [gone]}}, ["web1"]) == ["old"]
    both = {"web1": {"python_apps": [gone]}, "web2": {"python_apps": [app("old")]}}
    assert services.postgresql_absent(both, ["web1", "web2"]) == []


def test_urls() -> None:
    def urls(
        declared: list[dict[str, Any]], server: str, address: str = "10.0.0.5"
    ) -> dict[str, dict[str, str]]:
        secrets = {"shop": {"SHOP_DB": "postgresql://elsewhere/shop"}}
        return connections(declared, "web1", server, address, SECRET, secrets)

    shared = app("my-app", database={"engine": "postgresql", "name": "blog"})
    external = app("shop", database={"url": "SHOP_DB"})
    assert urls([app(), shared, external, app("none", database=None)], "web1") == {
        "blog": {"DATABASE_URL": "postgresql:///blog?host=/run/postgresql"},
        "my-app": {"DATABASE_URL": "postgresql:///blog?host=/run/postgresql"},
        "shop": {"DATABASE_URL": "postgresql://elsewhere/shop"},
    }
    password = derived.password(SECRET, "postgresql", "my-app")
    tls = "sslmode=verify-full&sslrootcert=/etc/emperor-stack/services-ca.pem"
    assert urls([shared], "db1") == {
        "my-app": {"DATABASE_URL": f"postgresql://my-app:{password}@10.0.0.5:5432/blog?{tls}"}
    }
    assert "@[fd00::5]:5432/" in urls([shared], "db1", "fd00::5")["my-app"]["DATABASE_URL"]


def test_passwords_differ_by_app_service_and_secret() -> None:
    made = {
        derived.password(secret, service, name)
        for secret in (SECRET, SECRET + "!")
        for service in ("postgresql", "redis")
        for name in ("blog", "shop")
    }
    assert len(made) == 8 and all(len(one) == 43 for one in made)


def test_a_server_recognises_the_password_by_what_it_stores() -> None:
    kind, rest = derived.verifier(SECRET, "postgresql", "blog").split("$", 1)
    rounds_and_salt, keys = rest.split("$")
    rounds, salt = rounds_and_salt.split(":")
    stored, _ = keys.split(":")
    password = derived.password(SECRET, "postgresql", "blog").encode()
    salted = hashlib.pbkdf2_hmac("sha256", password, base64.b64decode(salt), int(rounds))
    client = hmac.new(salted, b"Client Key", hashlib.sha256).digest()
    assert kind == "SCRAM-SHA-256" and base64.b64encode(hashlib.sha256(client).digest()).decode() == stored


def test_the_authority_issues_what_openssl_verifies_for_that_address_alone(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(authority.certificate(SECRET))
    (tmp_path / "other.pem").write_text(authority.certificate(SECRET + "!"))
    (tmp_path / "server.pem").write_text(authority.server_certificate(SECRET, "db1", "10.0.0.5"))
    assert authority.server_certificate(SECRET, "db1", "10.0.0.5") == (tmp_path / "server.pem").read_text()

    def verifies(ca: str, address: str) -> bool:
        command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_ip", address]
        done = subprocess.run(
            [*command, "-CAfile", str(tmp_path / ca), str(tmp_path / "server.pem")],
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    assert verifies("ca.pem", "10.0.0.5")
    assert not verifies("ca.pem", "10.0.0.6") and not verifies("other.pem", "10.0.0.5")
    key = subprocess.run(
        ["openssl", "pkey", "-pubout"],
        input=authority.server_key(SECRET, "db1"),
        text=True,
        capture_output=True,
        check=True,
    ).stdout
    of_certificate = ["openssl", "x509", "-in", str(tmp_path / "server.pem"), "-noout", "-pubkey"]
    assert key == subprocess.run(of_certificate, text=True, capture_output=True, check=True).stdout


# the inventory


def host(*apps: dict[str, Any], address: str = "10.0.0.2", **more: Any) -> dict[str, Any]:
    return {"python_apps": list(apps), "host_address": address, "vault_services_secret": SECRET, **more}


@pytest.mark.parametrize(
    ("hosts", "servers", "place", "reason"),
    [
        (
            {"web1": host(app()), "web2": host(app())},
            {},
            "python_apps (blog).database",
            "blog runs on 2 hosts",
        ),
        (
            {
                "web1": host(app(database={"engine": "postgresql", "name": "shared"})),
                "web2": host(app("shop", database={"engine": "postgresql", "name": "shared"})),
            },
            {},
            "python_apps (blog).database",
            "blog and shop share shared and run on 2 hosts",
        ),
        ({"web1": host(app())}, {"db1": host(), "db2": host()}, "group databases", "it has 2 hosts"),
        ({"web1": host(app(), address="")}, {"db1": host()}, "host_address", "is not known"),
        ({"web1": host(app())}, {"db1": host(address="db1.example.com")}, "host_address", "is not known"),
        (
            {"web1": host(app(), vault_services_secret="short")},
            {"db1": host(vault_services_secret="short")},
            "vault_services_secret",
            "shorter than 32",
        ),
        (
            {"web1": host(app(), vault_services_secret=SECRET + "!")},
            {"db1": host()},
            "vault_services_secret",
            "another",
        ),
        (
            {"web1": host(app(web={"processes": 64, "threads": 8}))},
            {},
            "postgresql_settings.max_connections",
            "would allow 500. The most: blog 1027",
        ),
        (
            {
                "web1": host(
                    app(web={"processes": 8, "threads": 8}), postgresql_settings={"max_connections": 100}
                )
            },
            {},
            "postgresql_settings.max_connections",
            "would allow 100",
        ),
    ],
)
def test_an_inventory_that_cannot_work_is_refused(
    hosts: dict[str, Any], servers: dict[str, Any], place: str, reason: str
) -> None:
    (found,) = problems(hosts, servers)
    assert found.where == place and reason in found.reason and found.fix


@pytest.mark.parametrize(
    ("hosts", "servers"),
    [
        ({"web1": host(app())}, {}),
        ({"web1": host(app(), address=""), "web2": host(app("shop"), address="")}, {}),
        ({"web1": host(app()), "web2": host(app())}, {"db1": host()}),
        ({"db1": host(app(), vault_services_secret="")}, {"db1": host(vault_services_secret="")}),
        ({"web1": host(app(database=None))}, {}),
        (
            {"web1": host(app(), vault_services_secret=Unresolved("locked"))},
            {"db1": host(vault_services_secret=Unresolved("locked"))},
        ),
        (
            {
                "web1": host(
                    app(web={"processes": 64, "threads": 8}), postgresql_settings={"max_connections": 1100}
                )
            },
            {},
        ),
    ],
)
def test_an_inventory_that_works_is_accepted(hosts: dict[str, Any], servers: dict[str, Any]) -> None:
    assert problems(hosts, servers) == []
