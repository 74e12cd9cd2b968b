import hashlib
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from links import create_app, database
from links.views import problems
from werkzeug.test import TestResponse


def token(client: FlaskClient) -> str:
    found = re.search(r'name="token" value="([\w-]+)"', client.get("/").text)
    assert found
    return found[1]


def add(client: FlaskClient, url: str, **fields: str) -> TestResponse:
    return client.post("/", data={"url": url, "token": token(client), **fields}, follow_redirects=True)


@pytest.mark.parametrize(
    ("url", "slug", "wrong"),
    [
        ("https://example.org", "", []),
        ("http://example.org/ü?a=b#c", "a-1", []),
        ("javascript:alert(1)", "", ["address"]),
        ("https://", "", ["address"]),
        ("//example.org", "", ["address"]),
        ("https://[", "", ["address"]),
        ("https://example.org/\nX: y", "", ["address"]),
        ("https://example.org/" + 2000 * "a", "", ["address"]),
        ("https://example.org", "-a", ["short name"]),
        ("https://example.org", "A", ["short name"]),
        ("", 41 * "a", ["address", "short name"]),
    ],
)
def test_what_is_no_link_is_told(url: str, slug: str, wrong: list[str]) -> None:
    found = problems(url, slug)
    assert len(found) == len(wrong)
    assert all(word in problem for word, problem in zip(wrong, found, strict=True))


def test_an_added_link_is_listed_and_leads_on(client: FlaskClient) -> None:
    page = add(client, "https://example.org/a?b=c", title="<Grüße>", slug="hello").text
    assert "Added http://localhost/go/hello" in page
    assert "&lt;Grüße&gt;" in page
    answer = client.get("/go/hello")
    assert (answer.status_code, answer.location) == (302, "https://example.org/a?b=c")
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_link_without_names_gets_its_host_and_a_short_name(client: FlaskClient) -> None:
    add(client, "https://example.org/long")
    link = client.get("/api/links").json[0]
    assert link["title"] == "example.org"
    assert re.fullmatch("[a-z0-9]{6}", link["slug"])


def test_a_taken_short_name_is_refused_and_the_form_kept(client: FlaskClient) -> None:
    add(client, "https://example.org/1", slug="x")
    answer = add(client, "https://example.org/2", slug="x")
    assert answer.status_code == 422
    assert "“x” is taken" in answer.text
    assert 'value="https://example.org/2"' in answer.text


def test_search_is_by_title_address_and_short_name(client: FlaskClient) -> None:
    add(client, "https://example.org/leeks", title="Garden", slug="g1")
    add(client, "https://example.net/", title="100%_", slug="g2")
    for words, found in (("GARD", {"g1"}), ("leek", {"g1"}), ("g2", {"g2"}), ("%_", {"g2"}), ("%g%", set())):
        assert set(re.findall(r"/go/(g\d)", client.get("/", query_string={"q": words}).text)) == found, words


def test_a_form_of_another_site_is_refused(client: FlaskClient) -> None:
    for given in ({}, {"token": "-"}, {"token": "guessed"}):
        assert client.post("/", data={"url": "https://example.org", **given}).status_code == 400
    assert client.get("/api/links").json == []


def test_a_deleted_link_is_gone(client: FlaskClient) -> None:
    add(client, "https://example.org/", slug="x")
    client.post("/delete/x", data={"token": token(client)})
    assert client.get("/go/x").status_code == 404
    assert "Back to all links" in client.get("/go/x").text


def test_the_api_adds_links(client: FlaskClient) -> None:
    answer = client.post("/api/links", json={"url": "https://example.org", "slug": "x"})
    assert (answer.status_code, answer.json["short"]) == (201, "http://localhost/go/x")
    assert client.post("/api/links", json={"url": "https://example.org", "slug": "x"}).status_code == 409
    for wrong in ({"url": "ftp://x"}, {"url": 1}, ["x"], {"url": "https://x", "clicks": "9"}):
        assert client.post("/api/links", json=wrong).status_code == 422, wrong
    assert client.post("/api/links", data={"url": "https://example.org"}).status_code == 415


def test_no_click_is_lost_when_many_come_at_once(app: Flask) -> None:
    app.test_client().post("/api/links", json={"url": "https://example.org", "slug": "x"})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: app.test_client().get("/go/x"), range(80)))
    assert app.test_client().get("/api/links").json[0]["clicks"] == 80


def test_health_is_the_state_of_the_database(client: FlaskClient, tmp_path: Path) -> None:
    assert client.get("/healthz").text == "ok"
    unprepared = create_app(SECRET_KEY="x", DATABASE=tmp_path / "other.sqlite3").test_client()
    assert unprepared.get("/healthz").status_code == 503
    assert unprepared.get("/diagnostics/identity").status_code == 404, "diagnostics are off by default"


def test_migrations_run_once(tmp_path: Path) -> None:
    connection = database.connect(tmp_path / "new.sqlite3")
    assert database.migrate(connection) == len(database.MIGRATIONS)
    assert database.migrate(connection) == 0


def test_a_missing_key_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECRET_KEY", raising=False)
    with pytest.raises(RuntimeError, match="SECRET_KEY is not set"):
        create_app()


def test_echo_reports_a_large_body(client: FlaskClient) -> None:
    body = os.urandom(3_000_000)
    assert client.post("/diagnostics/echo", data=body).json == {
        "length": 3_000_000,
        "sha256": hashlib.sha256(body).hexdigest(),
        "content_length": "3000000",
        "transfer_encoding": None,
    }


def test_diagnostics_tell_about_headers_output_and_process(
    client: FlaskClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_RELEASE", "r1")
    assert client.get("/diagnostics/headers", headers={"X-Probe": "7"}).json["X-Probe"] == "7"
    client.get("/diagnostics/print?token=t1")
    printed = capsys.readouterr()
    assert printed.out == "stdout: Grüße aus Zürich — ✓ t1\n"
    assert printed.err == "stderr: Grüße aus Zürich — ✓ t1\n"
    identity = client.get("/diagnostics/identity").json
    assert (identity["pid"], identity["release"], identity["prefix"]) == (os.getpid(), "r1", sys.prefix)
    assert client.get("/diagnostics/slow?seconds=0").text == "slept 0 s"
