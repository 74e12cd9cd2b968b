import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
from polls import database, main, seen
from polls.views import parse_labels, problems
from webtest import AppError, TestApp, TestResponse

ROOT = Path(__file__).resolve().parent.parent


def ask(app: TestApp, question: str = "Tea or coffee?", answers: str = "Tea\nCoffee") -> TestResponse:
    form = app.get("/ask").forms[0]
    form["question"], form["answers"] = question, answers
    return form.submit()


def vote(app: TestApp, address: str, number: int) -> TestResponse:
    form = app.get(address).forms[0]
    form["choice"] = str(number)
    return form.submit().follow()


@pytest.mark.parametrize(
    ("text", "labels"),
    [("", []), (" \n\n", []), ("Tea\r\n  Green   tea \nTea", ["Tea", "Green tea"])],
)
def test_answers_are_one_per_line(text: str, labels: list[str]) -> None:
    assert parse_labels(text) == labels


@pytest.mark.parametrize(
    ("question", "labels", "wrong"),
    [
        ("Why?", ["a", "b"], []),
        ("", ["a", "b"], ["Write"]),
        ("Why?", ["a"], ["two to ten"]),
        ("Why?", list("abcdefghijk"), ["two to ten"]),
        ("?" * 201, ["a", "b" * 201], ["200 characters"]),
        ("", [], ["Write", "two to ten"]),
    ],
)
def test_what_cannot_be_asked_is_told(question: str, labels: list[str], wrong: list[str]) -> None:
    found = problems(question, labels)
    assert len(found) == len(wrong)
    assert all(word in problem for word, problem in zip(wrong, found, strict=True))


def test_a_question_is_listed_and_can_be_answered(app: TestApp) -> None:
    assert "Nobody has asked" in app.get("/").text
    answer = ask(app, "<Tee> oder Käse?", "Tee\nKäse")
    assert answer.status_code == 303
    page = answer.follow()
    assert "&lt;Tee&gt; oder Käse?" in page.text
    assert "Your poll is open" in page.text
    assert "Käse?" in app.get("/").text
    page = vote(app, answer.location, 2)
    assert "Your vote is counted" in page.text
    assert "100 % · 1" in page.text
    assert "1 vote · asked" in app.get("/").text


def test_a_browser_has_one_vote_and_can_change_it(app: TestApp, settings: dict[str, Any]) -> None:
    address = ask(app).location
    vote(app, address, 1)
    vote(app, address, 2)
    page = vote(TestApp(main({}, **settings)), address, 2)
    assert "2 votes" in page.text
    assert "100 % · 2" in page.text
    assert "0 % · 0" in page.text


def test_a_closed_poll_takes_no_vote(app: TestApp) -> None:
    page = ask(app).follow()
    late = page.forms[0]
    late["choice"] = "1"
    closed = page.forms[1].submit().follow()
    assert "The poll is closed" in closed.text
    assert not closed.forms
    assert "This poll is closed" in late.submit(status=409).text


@pytest.mark.parametrize("choice", ["", "3", "-1", "²", "9" * 30, "1 OR 1"])
def test_an_answer_of_another_poll_is_refused(app: TestApp, choice: str) -> None:
    form = ask(app).follow().forms[0]
    ask(app, "Other?", "Yes\nNo")
    form["choice"].force_value(choice)
    form.submit(status=409)
    assert "0 votes" in app.get("/polls/1").text


def test_a_refused_question_stays_in_the_form(app: TestApp) -> None:
    form = app.get("/ask").forms[0]
    form["question"] = "Only one?"
    form["answers"] = "Yes"
    page = form.submit(status=422)
    assert "Give two to ten" in page.text
    assert page.forms[0]["question"].value == "Only one?"


def test_a_form_without_token_is_refused(app: TestApp) -> None:
    assert "too old" in app.post("/ask", {"question": "x", "answers": "a\nb"}, status=400).text
    with pytest.raises(AppError, match="404"):
        app.get("/polls/1")


def test_what_is_not_there_gets_a_page(app: TestApp) -> None:
    for address in ("/polls/99", "/nothing", "/polls/9999999999"):
        assert "Back to all polls" in app.get(address, status=404).text


def test_health_is_the_state_of_the_database(app: TestApp, tmp_path: Path) -> None:
    assert app.get("/healthz").text == "ok"
    other = TestApp(main({}, **{"polls.secret": "x", "polls.database": str(tmp_path / "other.sqlite3")}))
    assert "no such table" in other.get("/healthz", status=503).text
    other.get("/diagnostics/identity", status=404)  # off by default


def test_migrations_run_once_and_wholly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = database.connect(tmp_path / "new.sqlite3")
    monkeypatch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, "CREATE NONSENSE"))
    with pytest.raises(database.sqlite3.OperationalError):
        database.migrate(connection)
    monkeypatch.undo()
    assert database.migrate(connection) == len(database.MIGRATIONS), "nothing was kept of the failed run"
    assert database.migrate(connection) == 0


def test_production_ini_makes_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    from paste.deploy import loadapp

    monkeypatch.delenv("SECRET_KEY", raising=False)
    with pytest.raises(RuntimeError, match="SECRET_KEY is not set"):
        loadapp(f"config:{ROOT}/production.ini")
    monkeypatch.setenv("SECRET_KEY", "x")
    app = loadapp(f"config:{ROOT}/production.ini")
    assert app.registry.settings["polls.database"] == f"{ROOT}/data/polls.sqlite3"


def test_echo_reports_a_large_body(app: TestApp) -> None:
    body = os.urandom(3_000_000)
    assert app.post("/diagnostics/echo", body).json == {
        "length": 3_000_000,
        "sha256": hashlib.sha256(body).hexdigest(),
        "content_length": "3000000",
        "transfer_encoding": None,
    }


def test_diagnostics_tell_about_headers_output_and_process(
    app: TestApp, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_RELEASE", "r1")
    assert app.get("/diagnostics/headers", headers={"X-Probe": "7"}).json["X-Probe"] == "7"
    app.get("/diagnostics/print?token=t1")
    printed = capsys.readouterr()
    assert printed.out == "stdout: Grüße aus Zürich — ✓ t1\n"
    assert printed.err == "stderr: Grüße aus Zürich — ✓ t1\n"
    identity = app.get("/diagnostics/identity").json
    assert (identity["pid"], identity["release"], identity["prefix"]) == (os.getpid(), "r1", sys.prefix)
    assert app.get("/diagnostics/slow?seconds=0").text == "slept 0 s"


class Counter:
    """What the app asks of Redis."""

    def __init__(self) -> None:
        self.keys: dict[str, int] = {}
        self.down = False

    def incr(self, key: str) -> int:
        if self.down:
            raise redis.ConnectionError("refused")
        self.keys[key] = self.keys.get(key, 0) + 1
        return self.keys[key]


def test_redis_counts_who_looks(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PREFIX", "polls:")
    counter = Counter()
    app = TestApp(main({}, **settings | {"polls.redis": counter}))
    assert "seen 1 time<" in ask(app).follow().text
    assert "seen 2 times" in app.get("/polls/1").text
    assert counter.keys == {"polls:seen:1": 2}
    # It is an extra: the page is there without it.
    counter.down = True
    page = app.get("/polls/1")
    assert page.status_code == 200 and "seen" not in page.text


def test_without_redis_nobody_counts(app: TestApp, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ask(app).follow()
    assert page.status_code == 200 and "seen" not in page.text
    monkeypatch.delenv("REDIS_URL", raising=False)
    assert seen.connected() is None
    monkeypatch.setenv("REDIS_URL", "redis://polls:x@127.0.0.1:6379/0")
    # Nothing is asked yet: the app starts while Redis does not.
    assert seen.connected() is not None
