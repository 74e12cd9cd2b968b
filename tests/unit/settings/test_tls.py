"""Invalid settings of role tls."""

from __future__ import annotations

from typing import Any

import pytest
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
            'tls_acme_email is "", and blog, shop has tls.provider acme. Set the address',
        ),
        ({"email": "ann@x\n"}, ["hetzner"], r'tls_acme_email is "ann@x\n"'),
        (
            {"directory": "http://ca"},
            ["hetzner"],
            'tls_acme_directory is "http://ca": set it to the https URL',
        ),
        ({}, ["other"], "no entry for the DNS provider hetzner"),
        ({"eab_key_id": "x"}, ["hetzner"], "belong together"),
        ({"eab_hmac": "hunter2"}, ["hetzner"], "belong together"),
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
