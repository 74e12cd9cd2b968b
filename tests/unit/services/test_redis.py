"""Redis of apps: users, passwords and URLs."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.problems.found import Controller, HostApps
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.problems.inventory import (
    problems as of_apps,
)
from ansible_collections.emperor.stack.plugins.plugin_utils.services import derived, redis
from ansible_collections.emperor.stack.plugins.plugin_utils.services.connections import connections
from ansible_collections.emperor.stack.plugins.plugin_utils.services.databases import HostOfApps
from ansible_collections.emperor.stack.plugins.plugin_utils.services.problems import problems

SECRET = "a secret of thirty-two characters, or more"


def app(name: str = "blog", **keys: Any) -> dict[str, Any]:
    common = {
        "domains": [f"{name}.example.com"],
        "source": {"path": "code"},
        "wsgi": "app:app",
        "redis": True,
    }
    return {"name": name, **common, **keys}


def test_redis_gets_the_hash_of_the_password_that_the_app_gets() -> None:
    (found,) = redis.apps("web1", [HostOfApps("web1", [app(), app("shop", redis=False)], "")], SECRET)
    environment = connections([app()], "web1", "web1", "", SECRET, {})["blog"]
    password = environment["REDIS_URL"].removeprefix("redis://blog:").partition("@")[0]
    assert environment == {"REDIS_URL": f"redis://blog:{password}@127.0.0.1:6379/0", "REDIS_PREFIX": "blog:"}
    assert found == {
        "name": "blog",
        "password_hash": hashlib.sha256(password.encode()).hexdigest(),
        "addresses": [],
    }
    assert password != derived.password(SECRET, "postgresql", "blog") != redis.admin_password(SECRET, "blog")


def test_other_hosts_come_by_verified_tls() -> None:
    (found,) = redis.apps("db1", [HostOfApps("web1", [app()], "10.0.0.2")], SECRET)
    url = connections([app()], "web1", "db1", "10.0.0.5", SECRET, {})["blog"]["REDIS_URL"]
    assert found["addresses"] == ["10.0.0.2"]
    assert (
        url.startswith("rediss://blog:")
        and "@10.0.0.5:6380/0?ssl_cert_reqs=required&ssl_ca_certs=/etc/" in url
    )


def test_it_needs_the_secret_on_a_single_host_too() -> None:
    (found,) = problems({"web1": {"python_apps": [app()]}}, {})
    assert found.where == "vault_services_secret" and "it is missing" in found.reason
    assert problems({"web1": {"python_apps": [app()], "vault_services_secret": SECRET}}, {}) == []


def test_hosts_with_a_redis_of_their_own_need_not_have_the_same_secret() -> None:
    hosts = {
        "web1": {"python_apps": [app()], "vault_services_secret": SECRET},
        "web2": {"python_apps": [app("shop")], "vault_services_secret": SECRET + " of another host"},
    }
    assert problems(hosts, {}) == []
    hosts["web2"]["vault_services_secret"] = "short"
    (found,) = problems(hosts, {})
    assert found.hosts == ("web2",) and "shorter than" in found.reason


def test_two_hosts_have_one_redis() -> None:
    host = {"python_apps": [app()], "vault_services_secret": SECRET}
    (found,) = problems({"web1": host, "web2": host}, {})
    assert "each would have a database or Redis of its own" in found.reason


def test_a_redis_is_not_shared_with_an_app_whose_database_has_the_name() -> None:
    other = {**app("shop", redis=False), "database": {"engine": "postgresql", "name": "blog"}}
    hosts = {"web1": {"python_apps": [app()]}, "web2": {"python_apps": [other]}}
    assert (
        problems({name: {**host, "vault_services_secret": SECRET} for name, host in hosts.items()}, {}) == []
    )


@pytest.mark.parametrize(
    ("keys", "place", "reason"),
    [
        ({"redis": "yes"}, "redis", "must be true or false"),
        ({"env": {"REDIS_URL": "x"}}, "env.REDIS_URL", "`redis` sets REDIS_URL"),
        ({"name": "default"}, "redis", "has a user of this name"),
        ({"name": "loaded-abc"}, "redis", "has a user of this name"),
    ],
)
def test_what_is_refused_of_one_app(keys: dict[str, Any], place: str, reason: str) -> None:
    controller = Controller("/bundle", lambda _: True, lambda _: True)
    (found,) = of_apps({"web1": HostApps([{**app(), **keys}])}, controller)
    assert found.where.endswith(f".{place}") and reason in found.reason
