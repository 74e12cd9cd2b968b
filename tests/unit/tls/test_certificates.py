"""When a certificate is replaced, for which domains, and what an authority's refusal means."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.tls import certificates
from ansible_collections.emperor.stack.plugins.module_utils.tls.certificates import Certificate

DAY = 86400.0
NOW = 1_000 * DAY
HERE = "https://ca.example.com/dir"
SETTINGS: dict[str, Any] = {"directory": HERE, "email": "a@example.com", "key_type": "ec256"}
APP: dict[str, Any] = {
    "name": "blog",
    "domains": ["b.example", "www.b.example", "old.example"],
    "provider": "acme",
    "challenge": "http-01",
}
ALL = APP["domains"]


def live(names: list[str], left: float = 80, **changes: Any) -> Certificate:
    """A certificate of 90 days that has *left* days to go."""
    given: dict[str, Any] = {
        "names": tuple(names),
        "not_before": NOW - (90 - left) * DAY,
        "not_after": NOW + left * DAY,
        "fingerprint": "f",
        "source": "acme",
        "authority": HERE,
        "key_type": "ec256",
    }
    return Certificate(**{**given, **changes})


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (live(ALL), ""),
        (live(ALL, 30.5), ""),
        (live(ALL, 29.5), "it ends on 1972-10-26"),
        (live(ALL, -1), "it ends on 1972-09-26"),
        # A short-lived one is renewed in its last third, too.
        (live(ALL, 2.1, not_before=NOW - 3.9 * DAY), ""),
        (live(ALL, 1.9, not_before=NOW - 4.1 * DAY), "it ends on 1972-09-28"),
        (None, "there is none of this kind yet"),
        (live(ALL, source="self_signed"), "there is none of this kind yet"),
        (live(ALL, source="files"), "there is none of this kind yet"),
        (live(ALL, authority="https://other/dir"), "it is from another authority"),
        (live(ALL, key_type="rsa2048"), "another kind of key is wanted"),
        (live(ALL[:1]), "it lacks old.example, www.b.example"),
        (live([*ALL, "gone.example"]), "it holds gone.example, which the app no longer has"),
    ],
)
def test_why_another_one_is_wanted(found: Certificate | None, why: str) -> None:
    assert certificates.wanted(APP, found, SETTINGS, NOW) == why


def test_a_self_signed_one_needs_no_authority() -> None:
    app = {**APP, "provider": "self_signed"}
    assert certificates.wanted(app, live(ALL, source="self_signed", authority=""), SETTINGS, NOW) == ""


@pytest.mark.parametrize(
    ("found", "blocked", "ordered"),
    [
        # The first: whatever can be had.
        (None, [], ALL),
        (live(ALL, source="self_signed"), [ALL[1]], [ALL[0], ALL[2]]),
        (live(ALL, source="self_signed"), ALL, []),
        # One that has ended covers nobody.
        (live(ALL, -1), [ALL[1]], [ALL[0], ALL[2]]),
        (live(ALL, authority="https://other/dir"), [ALL[1]], [ALL[0], ALL[2]]),
        # A new domain, reachable or not.
        (live(ALL[:2]), [], ALL),
        (live(ALL[:1]), [ALL[2]], ALL[:2]),
        (live(ALL[:2]), [ALL[2]], []),
        # A covered domain is not given up for a new one,
        (live(ALL[:2]), [ALL[0]], []),
        # nor at the beginning of the time for renewal, but before the end for all.
        (live(ALL, 29), [ALL[0]], []),
        (live(ALL, 14), [ALL[0]], ALL[1:]),
        # One that never could be had does not hold up the renewal of the others.
        (live(ALL[:2], 29), [ALL[2]], ALL[:2]),
    ],
)
def test_what_is_ordered(found: Certificate | None, blocked: list[str], ordered: list[str]) -> None:
    assert certificates.to_order(APP, found, SETTINGS, blocked, NOW) == ordered


def test_pauses_grow_to_a_day() -> None:
    assert [certificates.pause(count) for count in (1, 2, 3, 7, 8, 1000)] == [
        900,
        1800,
        3600,
        57600,
        86400,
        86400,
    ]


def test_a_refused_domain_pauses_and_others_do_not() -> None:
    problem = certificates.failed({"failures": 1}, "no route", NOW, ALL)
    assert problem == {"failures": 2, "until": NOW + 1800, "reason": "no route", "asked": sorted(ALL)}
    known = {ALL[0]: problem}
    assert list(certificates.pausing(known, ALL, NOW + 1799)) == [ALL[0]]
    assert "no route (tried 2 times, next try after " in certificates.pausing(known, ALL, NOW)[ALL[0]]
    assert certificates.pausing(known, ALL, NOW + 1800) == {}
    assert certificates.pausing(known, ALL[1:], NOW) == {}


def test_a_refused_order_pauses_as_a_whole_until_the_domains_change() -> None:
    known = {"": certificates.failed(None, "rateLimited", NOW, ALL)}
    assert list(certificates.pausing(known, ALL, NOW)) == ALL
    assert certificates.pausing(known, ALL[:2], NOW) == {}


NAMED = """\
2026/11/22 23:40:34 [INFO] [b.example, www.b.example] acme: Obtaining bundled SAN certificate
2026/11/22 23:40:34 [INFO] [b.example] AuthURL: https://localhost:14000/authZ/bSmG
2026/11/22 23:40:41 Could not obtain certificates:
\terror: one or more domains had a problem:
[www.b.example] acme: error: 400 :: urn:ietf:params:acme:error:connection :: Get "http://www.b.example": EOF
[elsewhere.example] acme: error: 400
"""
UNNAMED = """\
2026/11/22 23:40:34 [INFO] [b.example] acme: Obtaining bundled SAN certificate
2026/11/22 23:40:41 Could not obtain certificates:
\tacme: error: 429 :: urn:ietf:params:acme:error:rateLimited :: too many
"""


def test_the_authority_names_domains() -> None:
    refused = certificates.refusal(NAMED, ALL)
    said = 'acme: error: 400 :: urn:ietf:params:acme:error:connection :: Get "http://www.b.example": EOF'
    assert refused.domains == {"www.b.example": said}
    assert str(refused) == f"www.b.example: {said}"


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            UNNAMED,
            "Could not obtain certificates: acme: error: 429 :: urn:ietf:params:acme:error:rateLimited :: too many",
        ),
        ("still running", "still running"),
        ("", "lego printed nothing"),
    ],
)
def test_the_authority_refuses_all(output: str, said: str) -> None:
    refused = certificates.refusal(output, ALL)
    assert (refused.domains, str(refused)) == ({}, said)


def test_how_lego_is_asked() -> None:
    http = certificates.lego_command(APP, ALL[:2], SETTINGS, "/work", "/web")
    assert http[0] == "lego" and http[-1] == "run"
    text = " ".join(http)
    assert "--domains b.example --domains www.b.example --http --http.webroot /web" in text
    assert f"--server {HERE} --key-type ec256" in text
    assert "--eab" not in text and "--dns" not in text
    app = {**APP, "challenge": "dns-01", "dns_provider": "hetzner"}
    settings = {
        **SETTINGS,
        "eab_key_id": "k",
        "eab_hmac": "h",
        "dns_resolvers": ["192.0.2.1:53"],
        "dns_wait": False,
    }
    text = " ".join(certificates.lego_command(app, ALL[:1], settings, "/work", "/web"))
    assert "--dns hetzner --dns.resolvers 192.0.2.1:53 --dns.disable-cp run" in text
    assert "--eab --kid k --hmac h" in text
    assert "--http " not in text


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (live(ALL), []),
        (live(ALL, 15), []),
        (live(ALL, 13.5), ["the certificate ends on 1972-10-10, in 13 days"]),
        # Short-lived ones are near their end all the time.
        (live(ALL, 5, not_before=NOW - DAY), []),
        (live(ALL, -2), ["the certificate ended on 1972-09-25"]),
        (live(ALL[1:]), ["the certificate lacks b.example"]),
        (live(["*.b.example", "b.example", "old.example"]), []),
        (
            live(ALL, source="self_signed"),
            ["the site is up with a self-signed certificate, which browsers reject"],
        ),
        (None, ["there is no certificate"]),
    ],
)
def test_what_is_warned_about(found: Certificate | None, said: list[str]) -> None:
    assert certificates.warnings(APP, found, NOW) == said


def test_domains_with_one_reason_are_told_together() -> None:
    errors = {"a.example": "no route", "b.example": "no route", "c.example": "refused"}
    assert certificates.sentence(errors) == "a.example, b.example: no route; c.example: refused"
    assert certificates.sentence({"": "the authority is silent"}) == "the authority is silent"


def test_on_a_balancer_the_client_answers_the_authority_itself() -> None:
    text = " ".join(
        certificates.lego_command(APP, ALL[:1], {**SETTINGS, "challenge_port": 8402}, "/work", "/web")
    )
    assert "--http --http.port :8402" in text and "webroot" not in text
