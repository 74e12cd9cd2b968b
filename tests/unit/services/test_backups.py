"""Users of the backup server, and the URL of each host's repository."""

from __future__ import annotations

import base64
import hashlib

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.services import backups, derived

SECRET = "a secret of thirty-two characters, or more"


def test_the_server_has_the_hash_of_the_password_in_the_url() -> None:
    first, second = backups.users(["web2", "web1.example.com", "web2"], SECRET)
    url = backups.url("web2", "10.0.0.9", SECRET)
    password = url.removeprefix("rest:https://web2:").removesuffix("@10.0.0.9:8000/web2/")
    digest = base64.b64encode(hashlib.sha1(password.encode(), usedforsecurity=False).digest()).decode()
    assert (first["name"], second) == (
        "web1.example.com",
        {"name": "web2", "password_hash": f"{{SHA}}{digest}"},
    )
    assert len(password) == 43 and first["password_hash"] != second["password_hash"]
    assert "@[2001:db8::9]:8000/web2/" in backups.url("web2", "2001:db8::9", SECRET)


@pytest.mark.parametrize("host", ["web:1", "../web2", "web 1", "web1\nroot"])
def test_a_name_that_would_be_another_user_or_path_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="no repository's name can have"):
        backups.users([host], SECRET)
    with pytest.raises(ValueError, match="no repository's name can have"):
        backups.url(host, "10.0.0.9", SECRET)


def test_nothing_is_derived_from_a_secret_that_could_be_guessed() -> None:
    with pytest.raises(derived.TooShort):
        backups.url("web1", "10.0.0.9", "short")


HOSTS = {"web1": {"host_address": "10.0.0.2"}, "store": {"ansible_host": "10.0.0.9"}}


@pytest.mark.parametrize(
    ("servers", "hosts", "secret", "said"),
    [
        (["store"], HOSTS, SECRET, []),
        (["store", "web1"], HOSTS, SECRET, ["group backup_server\n  reason: it has 2 hosts"]),
        (
            ["store"],
            {**HOSTS, "web2": {}},
            SECRET,
            ["host_address\n  reason: the address of web2 is not known"],
        ),
        (
            ["store"],
            {**HOSTS, "web2": {"ansible_host": "web2"}},
            SECRET,
            ["host_address\n  reason: the address of web2"],
        ),
        (["store"], HOSTS, "short", ["vault_services_secret\n  reason: passwords for the backup server"]),
    ],
)
def test_what_is_refused_before_any_host_is_touched(
    servers: list[str], hosts: dict[str, dict[str, str]], secret: str, said: list[str]
) -> None:
    found = backups.problems(servers, hosts, secret)
    assert len(found) == len(said) and all("\n  fix:    " in one for one in found)
    for one, beginning in zip(found, said, strict=True):
        assert one.startswith(beginning)
