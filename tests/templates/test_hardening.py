"""What role hardening writes, as far as a host is not needed to see it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

#: As role nginx logs it, with escape=json.
LINE = (
    '{{"time":"2026-11-23T02:00:00+00:00","request_id":"abc","client":"{client}","scheme":"http","method":"GET",'
    '"host":"one.example.com","uri":"{uri}","protocol":"HTTP/1.1","status":"{status}","bytes":"0","request_bytes":"1",'
    '"seconds":"0.1","upstream_seconds":"","upstream_status":"","release":"","referer":"{referer}","user_agent":"x"}}'
)


@pytest.fixture
def filters(role_value: Callable[..., Any], render: Callable[..., str]) -> dict[str, re.Pattern[str]]:
    """Each jail's expression, as fail2ban applies it: without the time, and with its own tag for an address."""
    found = {}
    for one in role_value("hardening", "__hardening_filters"):
        text = render("hardening", "filter.conf.j2", filter=one)
        expression = re.findall(r"^failregex = (.+)$", text, re.MULTILINE)[0]
        found[one["name"]] = re.compile(expression.replace("<ADDR>", r"(?P<ip>[0-9a-f.:]+)"))
    return found


def counted(
    filters: dict[str, re.Pattern[str]], uri: str = "/", status: str = "200", referer: str = ""
) -> dict[str, str]:
    """Which jails count this request, and against whom."""
    line = LINE.format(client="192.0.2.1", uri=uri, status=status, referer=referer)
    # What the date pattern matches is cut out.
    line = re.sub(r'"time":"[^"]+"', "", line)
    matches = {name: expression.search(line) for name, expression in filters.items()}
    return {name: match["ip"] for name, match in matches.items() if match}


@pytest.mark.parametrize(
    ("uri", "status", "jails"),
    [
        ("/", "200", set()),
        ("/", "404", set()),
        ("/login", "401", {"auth"}),
        ("/admin", "403", {"auth"}),
        ("/api", "429", {"limit"}),
        ("/.env", "404", {"scan"}),
        ("/x/.git/config", "403", {"scan", "auth"}),
        ("/wp-login.php?a=b", "404", {"scan"}),
        (r"/.env?\"", "404", {"scan"}),
        ("/a/phpmyadmin/", "404", {"scan"}),
        # An app that has such a page is asked for it by its visitors.
        ("/wp-login.php", "200", set()),
        ("/environment", "404", set()),
        ("/.well-known/acme-challenge/x", "404", set()),
        ("/docs/git", "404", set()),
    ],
)
def test_which_requests_count(
    filters: dict[str, re.Pattern[str]], uri: str, status: str, jails: set[str]
) -> None:
    assert set(counted(filters, uri, status)) == jails


@pytest.mark.parametrize(
    "lie",
    [
        r"\",\"client\":\"192.0.2.66\",\"status\":\"429",
        '{,\\"request_id\\":\\"\\",\\"client\\":\\"192.0.2.66\\"',
    ],
)
def test_nobody_else_is_blamed_by_what_a_client_sends(filters: dict[str, re.Pattern[str]], lie: str) -> None:
    assert counted(filters, f"/{lie}", "200", lie) == {}
    assert set(counted(filters, f"/.env{lie}", "404", lie).values()) <= {"192.0.2.1"}


def test_what_is_off_needs_no_package(role_value: Callable[..., Any]) -> None:
    parts = ("firewall", "ssh", "fail2ban", "upgrades", "time")
    off = {f"hardening_{part}": False for part in parts}
    assert role_value("hardening", "__hardening_packages", **off) == []
    assert "fail2ban" in role_value(
        "hardening", "__hardening_packages", **{**off, "hardening_fail2ban": True}
    )
