"""What the web server in front adds, drops and keeps to itself."""

from __future__ import annotations

import contextlib
import gzip
import json
import secrets
from collections.abc import Iterator

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from appsite import APPS, Site, eventually, front, python
from testinfra.host import Host

testinfra_hosts = ["ansible://app_hosts"]

NOTES = next(app for app in APPS if app.name == "notes")
MEDIA = f"{layout.shared('notes')}/media"


@pytest.mark.parametrize(
    "name",
    [
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Ssl",
        "X-Forwarded-Scheme",
        "X-Forwarded-Protocol",
        "X-Forwarded-Server",
        "X-Real-IP",
        "X-Script-Name",
        "X-Original-URL",
        "X-Rewrite-URL",
        "Forwarded",
        "X_Forwarded_For",
    ],
)
def test_a_visitor_cannot_forge_what_only_the_front_may_say(host: Host, name: str) -> None:
    links = Site(host, next(app for app in APPS if app.name == "links"))
    plain = links.get("/diagnostics/headers").json()
    forged = links.get("/diagnostics/headers", {name: "forged.example"}).json()
    assert "forged.example" not in str(forged)
    assert forged.keys() == plain.keys()
    assert plain["X-Forwarded-For"] == plain["X-Real-Ip"] != "127.0.0.1"
    assert (plain["X-Forwarded-Host"], plain["X-Forwarded-Proto"]) == (links.app.domain, "http")


def test_the_host_that_chose_the_app_is_the_one_that_it_sees(site: Site) -> None:
    """A request line with an absolute URI goes before the header."""
    answer = site.get(f"http://{site.app.domain}/diagnostics/headers", {"Host": "evil.example"})
    assert answer.status == 200
    assert "evil.example" not in answer.text


def test_nobody_gets_a_tunnel(site: Site) -> None:
    with contextlib.suppress(ConnectionError):
        assert site.ask("CONNECT", f"{site.app.domain}:80").status in (400, 405)


def test_a_path_reaches_the_app_decoded_once(site: Site) -> None:
    for path in ("/diagnostics%2Fidentity", "/%64iagnostics/identity"):
        assert site.get(path).status == 200, path
    # What frameworks make of two slashes is their own affair; the app gets both.
    assert site.get("//diagnostics//identity").status in (301, 302, 308, 404)
    for path in ("/%C3%BC%20%3F%23", "/%2564iagnostics/identity", "/100%25"):
        assert site.get(path).status == 404, path


def test_security_headers_are_there_once(site: Site) -> None:
    for path in ("/", next(iter(site.app.static)), "/nothing/here", "/.git/config"):
        headers = site.get(path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["x-frame-options"] in ("SAMEORIGIN", "DENY"), path
        assert headers["referrer-policy"], path
        assert headers["x-request-id"], path
    # Django sets its own, and only that one arrives.
    if site.app is NOTES:
        assert site.get("/").headers["x-frame-options"] == "DENY"


def test_what_the_log_says_of_a_request_is_json(site: Site) -> None:
    """Whatever the client sends; and it has the identifier that the client got."""
    server = front(site.host)
    agent = f'quoted " \\ \t and {secrets.token_hex(4)} Z\xc3\xbcrich'  # UTF-8
    identifier = site.get("/?q=%22%0A", {"User-Agent": agent, "Referer": "http://x/\xc3\xa9"}).headers[
        "x-request-id"
    ]
    log = f"/var/log/{server.unit}/{site.app.name}.access.log"

    def lines() -> list[str]:
        return [
            line for line in site.host.check_output("tail -n 50 %s", log).splitlines() if identifier in line
        ]

    eventually(lambda: bool(lines()), 5, f"the request is in {log}")
    entry = json.loads(lines()[0])
    assert (entry["request_id"], entry["status"], entry["host"]) == (identifier, "200", site.app.domain)
    assert "/?q=%22%0A" in (entry.get("uri") or entry["request"])
    assert entry["release"] == site.diagnostics("identity")["release"]
    assert site.host.file(log).mode & 0o007 == 0, "no app reads it"


def test_text_is_sent_compressed_to_who_takes_that(site: Site) -> None:
    """A stylesheet: an empty page is so small that nginx leaves it as it is."""
    url = next(url for url in site.app.static if url.endswith(".css"))
    answer = site.get(url, {"Accept-Encoding": "gzip"})
    assert answer.headers.get("content-encoding") == "gzip"
    plain = site.get(url)
    assert gzip.decompress(answer.body) == plain.body
    assert "content-encoding" not in plain.headers
    assert "accept-encoding" in answer.headers["vary"].lower()
    if front(site.host).unit == "nginx":
        assert not answer.headers["etag"].startswith("W/"), "compressed anew for this visitor"


def test_a_compressed_answer_can_be_asked_for_again(site: Site) -> None:
    url = next(iter(site.app.static))
    first = site.get(url, {"Accept-Encoding": "gzip"})
    again = site.get(url, {"Accept-Encoding": "gzip", "If-None-Match": first.headers["etag"]})
    assert (first.status, again.status) == (200, 304)


@pytest.fixture
def uploads(host: Host) -> Iterator[str]:
    """A directory below /media/ with what a hostile visitor or app may have put there."""
    name = f"t{secrets.token_hex(4)}"
    script = (
        f"import os; d = {MEDIA!r} + '/{name}'; os.mkdir(d)\n"
        "for n in ('page.html', 'page.html.old', 'picture.svg', 'code.js', 'text.txt', '.hidden', 'run.cgi'):\n"
        "    open(d + '/' + n, 'w').write('<script>alert(1)</script>')\n"
        "os.symlink('text.txt', d + '/own'); os.symlink('/etc/passwd', d + '/foreign')\n"
    )
    python(host, script, "notes")
    yield f"/media/{name}"
    host.check_output("rm -r %s", f"{MEDIA}/{name}")


def test_uploads_are_served_with_suspicion(host: Host, uploads: str) -> None:
    site = Site(host, NOTES)
    for name in ("page.html", "picture.svg", "code.js"):
        headers = site.get(f"{uploads}/{name}").headers
        assert headers["content-disposition"] == "attachment", name
    for name in ("page.html", "page.html.old", "picture.svg", "code.js", "text.txt", "run.cgi"):
        answer = site.get(f"{uploads}/{name}")
        assert (answer.status, answer.text) == (200, "<script>alert(1)</script>"), name
        assert "default-src 'none'" in answer.headers["content-security-policy"], name
        harmless = "html" not in answer.headers.get("content-type", "")
        assert harmless or answer.headers["content-disposition"] == "attachment", name


def test_links_in_uploads_lead_to_the_apps_own_files_only(host: Host, uploads: str) -> None:
    site = Site(host, NOTES)
    assert site.get(f"{uploads}/own").status == 200
    foreign = site.get(f"{uploads}/foreign")
    assert foreign.status in (403, 404)
    assert b"root:" not in foreign.body


def test_hidden_files_are_not_served(host: Host, uploads: str) -> None:
    site = Site(host, NOTES)
    for path in (
        f"{uploads}/.hidden",
        f"{uploads}/%2ehidden",
        "/.git/config",
        "/.env",
        "/static/.x",
        "/%2e%65nv",
    ):
        assert site.get(path).status == 404, path


def test_visitors_of_an_app_that_does_not_answer_are_asked_to_come_back(host: Host) -> None:
    site = Site(host, next(app for app in APPS if app.name == "polls"))
    active = layout.active("polls")
    host.check_output("mv -T %s %s.away", active, active)
    try:
        for method in ("GET", "POST"):
            answer = site.ask(method, "/", b"x=1" if method == "POST" else None)
            assert answer.status in (502, 503)
            assert "Back in a moment" in answer.text
            assert answer.headers["retry-after"] == "5"
            assert answer.headers["cache-control"] == "no-store"
        assert Site(host, NOTES).works(), "the neighbours serve on"
    finally:
        host.check_output("mv -T %s.away %s", active, active)
    assert site.works(), "with the very next request"
    assert site.get("/emperor-stack-unavailable.html").status == 404
