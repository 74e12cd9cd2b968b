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

    def make(source: str) -> Callable[..., Any]:
        (tmp_path / "code").mkdir()
        (tmp_path / "code" / "sample.py").write_text(source)
        entry = {"environment": {"GREETING": "hello"}, "wsgi": "sample:application", "paste": None}
        (tmp_path / "environment.json").write_text(json.dumps(entry))
        (tmp_path / "entry.py").write_text(ENTRY.read_text())
        application: Callable[..., Any] = runpy.run_path(str(tmp_path / "entry.py"))["application"]
        return application

    yield make
    sys.modules.pop("sample", None)


def test_the_app_sees_its_environment(load: Callable[[str], Callable[..., Any]]) -> None:
    application = load(
        "import os\nseen = os.environ['GREETING']\ndef application(e, s): return [seen.encode()]\n"
    )
    assert list(application({}, None)) == [b"hello"]


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
