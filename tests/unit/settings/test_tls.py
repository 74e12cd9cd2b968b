"""Invalid settings of role tls."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.faults import Encrypted, Unresolved
from ansible_collections.emperor.stack.plugins.plugin_utils.settings import tls

APP = {"name": "blog", "provider": "acme", "challenge": "http-01", "dns_provider": None}
DNS = {**APP, "name": "shop", "challenge": "dns-01", "dns_provider": "hetzner"}
GOOD = {"email": "ann@example.com", "directory": "https://ca.example/dir", "eab_key_id": "", "eab_hmac": ""}


@pytest.mark.parametrize(
    ("settings", "providers", "words"),
    [
        (
            {"email": ""},
            ["hetzner"],
            'tls_acme_email: it is "", and blog, shop have tls.provider acme. Fix: tls_acme_email: ',
        ),
        ({"email": "ann@x\n"}, ["hetzner"], r'tls_acme_email: it is "ann@x\n"'),
        (
            {"directory": "http://ca"},
            ["hetzner"],
            'tls_acme_directory: it is "http://ca", and blog, shop have tls.provider acme. Fix: set it to the https',
        ),
        ({}, ["other"], "no entry for the DNS provider hetzner, asked for by shop"),
        ({"eab_key_id": "x"}, ["hetzner"], "one of the two is set without the other"),
        ({"eab_hmac": "hunter2"}, ["hetzner"], "one of the two is set without the other"),
    ],
)
def test_what_is_invalid_is_named(settings: dict[str, str], providers: list[str], words: str) -> None:
    (said,) = tls.problems([APP, DNS], {**GOOD, **settings}, providers)
    assert words in said
    assert "hunter2" not in said


def test_all_of_it_is_named_at_once() -> None:
    bad: dict[str, Any] = {"email": "", "directory": "", "eab_key_id": "x", "eab_hmac": ""}
    assert len(tls.problems([APP, DNS], bad, [])) == 4


def test_without_an_authority_no_account_is_needed() -> None:
    own = {**APP, "provider": "files"}
    assert tls.problems([own], {**GOOD, "email": "", "directory": ""}, []) == []
    assert tls.problems([APP, DNS], GOOD, ["hetzner", "other"]) == []


HOST: dict[str, Any] = {
    "tls_acme_email": "ann@example.com",
    "tls_acme_directory": "https://ca.example/dir",
    "tls_acme_eab_key_id": "",
    "tls_acme_eab_hmac": "",
    "tls_dns_environment": {},
}
APPS: list[dict[str, Any]] = [
    {"name": "plain", "domains": ["a.example.com"], "wsgi": "a:a"},
    {"name": "blog", "domains": ["b.example.com"], "wsgi": "a:a", "tls": {"provider": "acme"}},
]


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, []),
        ({"tls_acme_email": ""}, ["tls_acme_email"]),
        ({"tls_acme_email": Unresolved("'x' is undefined")}, ["tls_acme_email"]),
        # What is encrypted is there, and not known.
        ({"tls_acme_eab_key_id": "1", "tls_acme_eab_hmac": Encrypted()}, []),
        ({"tls_acme_eab_hmac": Encrypted()}, ["tls_acme_eab_key_id and tls_acme_eab_hmac"]),
        ({"tls_acme_email": Encrypted()}, []),
        ({"tls_dns_environment": ["hetzner"]}, ["tls_dns_environment"]),
        ({"tls_dns_environment": None}, []),
    ],
)
def test_the_variables_of_a_host_are_checked(changes: dict[str, Any], wrong: list[str]) -> None:
    assert [fault.where for fault in tls.faults({**HOST, **changes}, APPS)] == wrong
    assert HOST.keys() == set(tls.NAMES)


def test_an_app_by_dns_needs_the_credentials_of_its_provider() -> None:
    dns = {**APPS[1], "tls": {"provider": "acme", "challenge": "dns-01", "dns_provider": "hetzner"}}
    assert [fault.where for fault in tls.faults(HOST, [dns])] == ["tls_dns_environment"]
    known = {"hetzner": {"HETZNER_API_KEY": Encrypted()}}
    assert list(tls.faults({**HOST, "tls_dns_environment": known}, [dns])) == []
