"""The file that uWSGI loads: it brings the environment and the app, and leaves no request body unread."""

from __future__ import annotations

import io
import json
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ENTRY = Path(__file__).resolve().parents[3] / "roles" / "python_apps" / "files" / "entry.py"


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Callable[..., Any]]]:
    """`load(source)`: the application that entry.py makes of a release whose module `sample` is *source*."""
    monkeypatch.setenv("GREETING", "unset")
    monkeypatch.setattr(sys, "argv", ["entry.py"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("HOME", "USER", "TMPDIR"):
        monkeypatch.setenv(name, "unset")

    def make(
        source: str, name: str = "entry", environment: dict[str, str] | None = None
    ) -> Callable[..., Any]:
        (tmp_path / "code").mkdir()
        (tmp_path / "code" / "sample.py").write_text(source)
        entry = {
            "environment": {"GREETING": "hello", "APP_RELEASE": "r1", **(environment or {})},
            "wsgi": "sample:application",
            "paste": None,
            "app": {"name": "blog", "home": "/srv/apps/blog/cache"},
        }
        (tmp_path / "environment.json").write_text(json.dumps(entry))
        (tmp_path / "entry.py").write_text(ENTRY.read_text())
        application: Callable[..., Any] = runpy.run_path(str(tmp_path / "entry.py"), run_name=name)[
            "application"
        ]
        return application

    yield make
    sys.modules.pop("sample", None)


def test_the_app_sees_its_environment(load: Callable[[str], Callable[..., Any]]) -> None:
    application = load(
        "import os\nseen = os.environ['GREETING']\ndef application(e, s): return [seen.encode()]\n"
    )
    assert list(application({}, None)) == [b"hello"]


def test_the_app_is_at_home_in_its_cache(load: Callable[[str], Callable[..., Any]]) -> None:
    application = load(
        "import os\ndef application(e, s): return [os.environ[name] for name in ('HOME', 'USER', 'TMPDIR')]\n"
    )
    cache = "/srv/apps/blog/cache"
    assert list(application({}, None)) == [cache, "blog", f"{cache}/tmp"]


def test_an_app_may_have_a_tmpdir_of_its_own(load: Callable[..., Callable[..., Any]]) -> None:
    application = load(
        "import os\ndef application(e, s): return [os.environ['TMPDIR']]\n", environment={"TMPDIR": "/x"}
    )
    assert list(application({}, None)) == ["/x"]


def test_what_the_app_leaves_of_a_body_is_read_when_the_answer_ends(
    load: Callable[[str], Callable[..., Any]],
) -> None:
    application = load("def application(e, s):\n    e['wsgi.input'].read(10)\n    return [b'done']\n")
    body = io.BytesIO(b"x" * 200_000)
    answer = application({"CONTENT_LENGTH": "200000", "wsgi.input": body}, None)
    assert list(answer) == [b"done"]
    assert body.tell() == 10, "the app may still read it while it answers"
    answer.close()
    assert body.read() == b""


def test_a_body_is_read_when_the_app_raises(load: Callable[[str], Callable[..., Any]]) -> None:
    application = load("def application(e, s):\n    raise LookupError\n")
    body = io.BytesIO(b"x" * 200_000)
    with pytest.raises(LookupError):
        application({"CONTENT_LENGTH": "200000", "wsgi.input": body}, None)
    assert body.read() == b""


def test_a_request_without_body_gets_the_apps_own_answer(load: Callable[[str], Callable[..., Any]]) -> None:
    """uWSGI recognises a wsgi.file_wrapper by its type and sends the file itself."""
    application = load("answer = [b'same']\ndef application(e, s): return answer\n")
    assert application({"CONTENT_LENGTH": ""}, None) is sys.modules["sample"].answer


def test_the_apps_own_close_is_called(load: Callable[[str], Callable[..., Any]]) -> None:
    application = load(
        "closed = []\nclass Answer(list):\n    def close(self): closed.append(True)\n"
        "def application(e, s): return Answer()\n"
    )
    application({"CONTENT_LENGTH": "1", "wsgi.input": io.BytesIO(b"x")}, None).close()
    assert sys.modules["sample"].closed == [True]


ECHO = "def application(e, s):\n    s('200 OK', [('A', 'b')])\n    return e\n"


@pytest.mark.parametrize(
    ("raw", "query", "path"),
    [
        ("/a%41", "", "/a%41"),
        ("/a%41?x=%41", "x=%41", "/a%41"),
        ("/a?b", "", "/a?b"),
        ("/a?b?c", "c", "/a?b"),
    ],
)
def test_under_gunicorn_it_does_what_uwsgi_does(
    load: Callable[..., Callable[..., Any]], raw: str, query: str, path: str
) -> None:
    started: list[Any] = []
    given = {"RAW_URI": raw, "QUERY_STRING": query, "PATH_INFO": "/aA", "REMOTE_ADDR": ""}
    seen = load(ECHO, "emperor_stack_entry")(
        {**given, "HTTP_X_FORWARDED_FOR": "10.0.0.1, 192.0.2.7"}, lambda *words: started.append(words)
    )
    assert started == [("200 OK", [("A", "b"), ("X-Release", "r1")])]
    assert (seen["PATH_INFO"], seen["REMOTE_ADDR"]) == (path, "192.0.2.7")


@pytest.mark.parametrize("prefix", ["", "/shop"])
def test_under_gunicorn_the_path_of_the_app_is_what_nginx_says(
    load: Callable[..., Callable[..., Any]], prefix: str
) -> None:
    given = {"RAW_URI": "/a", "QUERY_STRING": "", "REMOTE_ADDR": "192.0.2.7", "SCRIPT_NAME": "/wrong"}
    forwarded = {"HTTP_X_FORWARDED_PREFIX": prefix} if prefix else {}
    seen = load(ECHO, "emperor_stack_entry")({**given, **forwarded}, lambda *words: None)
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == (prefix, "/a")


def test_under_uwsgi_it_does_nothing_of_that(load: Callable[..., Callable[..., Any]]) -> None:
    started: list[Any] = []
    given = {"RAW_URI": "/a%41", "PATH_INFO": "/aA", "REMOTE_ADDR": ""}
    assert load(ECHO)(given, lambda *words: started.append(words)) == given
    assert started == [("200 OK", [("A", "b")])]
