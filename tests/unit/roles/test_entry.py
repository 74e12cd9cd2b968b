"""The file that a web server loads: it brings the app, and leaves no request body unread."""

from __future__ import annotations

import io
import json
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ENTRY = Path(__file__).resolve().parents[3] / "roles" / "python_apps" / "files" / "entry.py"


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Callable[..., Any]]]:
    """`load(source)`: the application that entry.py makes of a release whose module `sample` is *source*."""
    monkeypatch.setattr(sys, "argv", ["entry.py"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("GREETING", "APP_RELEASE"):
        monkeypatch.setenv(name, "of another")

    def make(source: str, name: str = "entry") -> Callable[..., Any]:
        (tmp_path / "code").mkdir()
        (tmp_path / "code" / "sample.py").write_text(source)
        entry = {
            "environment": {"GREETING": "hello", "APP_RELEASE": "r1"},
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


ASGI = "async def application(scope, receive, send): ..."
WSGI = "def application(environ, start_response): ..."


def checked(tmp_path: Path, source: str, **entry: Any) -> str:
    """What `entry.py --check` says of an app, its last line."""
    (tmp_path / "code").mkdir(exist_ok=True)
    (tmp_path / "code" / "sample.py").write_text(source)
    name = "sample:application"
    limits = {"request_timeout": 60, "drain": 30, "idle": 3600}
    content = {"environment": {"APP_RELEASE": "r1"}, "wsgi": None, "paste": None, "limits": limits}
    (tmp_path / "environment.json").write_text(json.dumps({**content, **(entry or {"wsgi": name})}))
    for file in ("entry.py", "asgi.py", "import_check.py"):
        (tmp_path / file).write_text((ENTRY.parent / file).read_text())
    run = subprocess.run(
        [sys.executable, "-B", str(tmp_path / "entry.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode == 0) == (run.stderr == "")
    return (run.stderr.strip().splitlines() or [""])[-1]


IS_ASGI = {"wsgi": None, "asgi": "sample:application"}
CLASS_OF_ASGI = "class App:\n async def __call__(self, scope, receive, send): ...\napplication = App()"
CLASS_OF_WSGI = "class App:\n def __call__(self, environ, start_response): ...\napplication = App()"


@pytest.mark.parametrize("source", [WSGI, CLASS_OF_WSGI, "def application(*words): ...", "application = max"])
def test_a_wsgi_app_passes(tmp_path: Path, source: str) -> None:
    assert checked(tmp_path, source) == ""


@pytest.mark.parametrize(
    "source",
    [ASGI, CLASS_OF_ASGI, "def application(*words): ...", "def application(scope, receive, send): ..."],
)
def test_an_asgi_app_passes(tmp_path: Path, source: str) -> None:
    assert checked(tmp_path, source, **IS_ASGI) == ""


@pytest.mark.parametrize("source", [ASGI, CLASS_OF_ASGI])
def test_an_asgi_app_given_as_wsgi_is_told_so(tmp_path: Path, source: str) -> None:
    assert checked(tmp_path, source) == (
        "sample:application is an ASGI application: it is called with scope, receive and send. In the app's entry of "
        "python_apps write `asgi: sample:application` in place of `wsgi: sample:application`"
    )


@pytest.mark.parametrize("source", [WSGI, CLASS_OF_WSGI])
def test_a_wsgi_app_given_as_asgi_is_told_so(tmp_path: Path, source: str) -> None:
    assert checked(tmp_path, source, **IS_ASGI) == (
        "sample:application is a WSGI application: it is called with environ and start_response. In the app's entry of "
        "python_apps write `wsgi: sample:application` in place of `asgi: sample:application`"
    )


def test_what_is_no_app_at_all_is_told_so(tmp_path: Path) -> None:
    assert "no WSGI application" in checked(tmp_path, "application = 5")
    assert "no ASGI application" in checked(tmp_path, "application = 5", **IS_ASGI)
    factory = checked(tmp_path, "def application(): ...", **IS_ASGI)
    assert factory.startswith("sample:application takes no arguments, so it makes an application")


GREETS = "import os\ndef application(e, s): return [os.environ['GREETING']]\n"


def test_the_environment_is_the_one_that_the_process_began_with(
    load: Callable[[str], Callable[..., Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has changed it since, as a .pth file of the venv may, did so on purpose."""
    monkeypatch.setenv("APP_RELEASE", "r1")
    monkeypatch.setenv("GREETING", "changed")
    assert list(load(GREETS)({}, None)) == ["changed"]


@pytest.mark.parametrize("began", ["elsewhere", "in another release"])
def test_it_is_taken_on_where_nothing_has_done_so(
    load: Callable[[str], Callable[..., Any]], monkeypatch: pytest.MonkeyPatch, began: str
) -> None:
    """As on a host whose emperors an earlier version has set up."""
    if began == "elsewhere":
        monkeypatch.delenv("APP_RELEASE")
    assert list(load(GREETS)({}, None)) == ["hello"]


class Sent(io.BytesIO):
    """A body of which nothing more comes once an answer has begun: who reads then would wait."""

    begun = False

    def read(self, *size: Any) -> bytes:
        assert not self.begun, "read after the answer's head went out"
        return super().read(*size)

    def readline(self, *size: Any) -> bytes:
        assert not self.begun, "read after the answer's head went out"
        return super().readline(*size)


def asked(application: Callable[..., Any], body: Sent, size: int) -> list[bytes]:
    """What goes out, as a server sends it: the head with the first part, or at the end where none comes."""
    out: list[bytes] = []

    def send(part: bytes) -> None:
        body.begun = True
        out.append(part)

    def start(*words: Any) -> Callable[[bytes], None]:
        return send

    answer = application({"CONTENT_LENGTH": str(size), "wsgi.input": body}, start)
    try:
        for part in answer:
            send(part)
        body.begun = True
    finally:
        answer.close()
    return out


@pytest.mark.parametrize("size", [1, 65_536, 200_000, 1_000_000])
@pytest.mark.parametrize(
    ("source", "out"),
    [
        ("e['wsgi.input'].read(10); return [b'done']", [b"done"]),
        ("return [b'a', b'b']", [b"a", b"b"]),
        ("return []", []),
        ("write = s('200 OK', []); write(b'x'); return [b'y']", [b"x", b"y"]),
        ("return iter(lambda: e['wsgi.input'].read(1000), b'')", None),
    ],
    ids=["a part", "nothing", "an empty answer", "by write", "streamed back"],
)
def test_a_body_is_read_before_the_first_part_of_the_answer_goes_out(
    load: Callable[[str], Callable[..., Any]], source: str, out: list[bytes] | None, size: int
) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    sent = Sent(body[:size])
    found = asked(load(f"def application(e, s):\n    {source}\n"), sent, size)
    assert found == out if out is not None else b"".join(found) == body[:size]
    assert sent.getvalue() == body[:size] and sent.tell() == size


LATE = """
def application(e, s):
    body = e['wsgi.input']
    yield body.read(3)
    yield body.readline()
    yield body.readline(2)
    yield b'|'.join(body.readlines())
    yield b'+'.join(body)
    yield body.read() + body.read(5)
"""


def test_an_app_that_reads_while_it_answers_gets_all_of_it(load: Callable[[str], Callable[..., Any]]) -> None:
    lines = b"abcde\nfghij\n" + b"klm\n" * 100_000
    out = asked(load(LATE), Sent(lines), len(lines))
    assert out[:3] == [b"abc", b"de\n", b"fg"]
    assert out[3:] == [b"|".join(lines[8:].splitlines(keepends=True)), b"", b""]


def test_a_body_is_its_lines(load: Callable[[str], Callable[..., Any]]) -> None:
    out = asked(load("def application(e, s):\n    return list(e['wsgi.input'])\n"), Sent(b"a\nb\nc"), 5)
    assert out == [b"a\n", b"b\n", b"c"]


@pytest.mark.parametrize("broken", ["read", "write"])
def test_what_cannot_be_kept_is_an_error_for_who_wants_it(
    load: Callable[[str], Callable[..., Any]], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """A client that has gone, or a disk that is full: not an upload that looks whole."""

    class Broken(Sent):
        reads = 0

        def read(self, *size: Any) -> bytes:
            self.reads += 1
            if broken == "read" and self.reads == 2:
                raise OSError("gone")
            return super().read(*size)

    class Full(io.BytesIO):
        def write(self, *part: Any) -> int:
            raise OSError("no space left")

    if broken == "write":
        monkeypatch.setattr("tempfile.SpooledTemporaryFile", lambda size: Full())
    source = (
        "def application(e, s):\n    yield b'first'\n    try:\n        yield e['wsgi.input'].read()\n"
        "    except OSError as error:\n        yield str(error).encode()\n"
    )
    body = Broken(b"x" * 200_000)
    assert asked(load(source), body, 200_000) == [b"first", b"gone" if broken == "read" else b"no space left"]
    # The rest does not stand in nginx's way, wherever it can still be read.
    assert body.tell() == 200_000


@pytest.mark.parametrize("error", ["LookupError", "SystemExit"])
def test_a_body_is_read_when_the_app_raises(
    load: Callable[[str], Callable[..., Any]], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    application = load(f"def application(e, s):\n    raise {error}\n")
    body = io.BytesIO(b"x" * 200_000)
    if error == "SystemExit":
        with pytest.raises(SystemExit):
            application({"CONTENT_LENGTH": "200000", "wsgi.input": body}, None)
    else:
        assert asked(application, body, 200_000) == [b"Internal Server Error\n"]
        assert "LookupError" in capsys.readouterr().err
    assert body.read() == b""


def exchanged(application: Callable[..., Any], **environ: Any) -> tuple[list[Any], list[bytes]]:
    """The heads and the parts that a server gets for a GET."""
    heads: list[Any] = []
    parts: list[bytes] = []

    def start(*words: Any) -> Callable[[bytes], None]:
        heads.append(words)
        return parts.append

    answer = application({"REQUEST_METHOD": "GET", "PATH_INFO": "/a\n", **environ}, start)
    parts += answer
    if hasattr(answer, "close"):
        answer.close()
    return heads, parts


#: What an app does, and the status of the answer that it is to give.
RAISES = {
    "at once": "1 / 0",
    "after its head": "s('200 OK', []); 1 / 0",
    "in the middle of its head": "s('200 OK', []); s('201 OK', [])",
    "in its first part": "s('200 OK', []); return (1 / 0 for _ in [1])",
    "in a part without a head": "yield 1 / 0",
    "as it closes": "raise ValueError('\\x1b[31m')",
    "with nothing to iterate over": "s('200 OK', []); return 3",
}


@pytest.mark.parametrize("how", RAISES)
def test_an_exception_before_the_answer_begins_is_a_500(
    load: Callable[[str], Callable[..., Any]], how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    application = load(f"def application(e, s):\n    {RAISES[how]}\n")
    heads, parts = exchanged(application)
    assert [(head[0], dict(head[1])["Content-Length"]) for head in heads] == [
        ("500 Internal Server Error", "22")
    ]
    assert parts == [b"Internal Server Error\n"]
    said = capsys.readouterr().err
    assert said.startswith(
        "exception before the answer to GET '/a\\n' began:\nTraceback (most recent call last):\n"
    )
    assert "sample.py" in said or "entry.py" in said


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("s('200 OK', []); yield b'a'; 1 / 0", [b"a"]),
        ("write = s('200 OK', []); write(b'a'); 1 / 0", [b"a"]),
    ],
    ids=["a part is out", "by write"],
)
def test_an_exception_after_that_is_the_server_s(
    load: Callable[[str], Callable[..., Any]], source: str, parts: list[bytes]
) -> None:
    heads: list[Any] = []
    out: list[bytes] = []

    def start(*words: Any) -> Callable[[bytes], None]:
        heads.append(words)
        return out.append

    application = load(f"def application(e, s):\n    {source}\n")
    with pytest.raises(ZeroDivisionError):
        out.extend(part for part in application({}, start))
    assert [head[0] for head in heads] == ["200 OK"]


ANSWERS = {
    "a list": ("s('200 OK', []); return [b'a', b'b']", [("200 OK", [])], [b"a", b"b"]),
    "parts": ("s('200 OK', []); yield b'a'; yield b'b'", [("200 OK", [])], [b"a", b"b"]),
    "no part": ("s('204 No Content', []); return iter(())", [("204 No Content", [])], []),
    "an empty first part": ("s('200 OK', []); yield b''; yield b'b'", [("200 OK", [])], [b"", b"b"]),
    "by write": (
        "w = s('200 OK', []); w(b'a'); w(b'b'); return [b'c']",
        [("200 OK", [])],
        [b"a", b"b", b"c"],
    ),
    "a head that is taken back": (
        "s('200 OK', []); s('503 No', [], 'info'); return [b'a']",
        [("503 No", [], "info")],
        [b"a"],
    ),
}


@pytest.mark.parametrize("how", ANSWERS)
def test_an_answer_arrives_as_the_app_gives_it(load: Callable[[str], Callable[..., Any]], how: str) -> None:
    source, heads, parts = ANSWERS[how]
    assert exchanged(load(f"def application(e, s):\n    {source}\n")) == (heads, parts)


def test_what_an_app_answers_with_is_closed_when_it_raises(load: Callable[[str], Callable[..., Any]]) -> None:
    application = load(
        "closed = []\nclass Answer:\n    def __iter__(self): raise ValueError\n"
        "    def close(self): closed.append(True)\ndef application(e, s): return Answer()\n"
    )
    exchanged(application)
    assert sys.modules["sample"].closed == [True]


def test_a_file_goes_to_the_server_as_it_is(load: Callable[[str], Callable[..., Any]]) -> None:
    """uWSGI's wsgi.file_wrapper is a function that gives the file itself back, gunicorn's a type."""

    class Wrapper:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __getitem__(self, key: int) -> bytes:
            raise AssertionError("read before the server has it")

    application = load(
        "import io\ndef application(e, s): s('200 OK', []); return e['wsgi.file_wrapper'](e['f'])\n"
    )
    for wrapper in (Wrapper, lambda file: file):
        file = io.BytesIO(b"x")
        answer = application({"wsgi.file_wrapper": wrapper, "f": file}, lambda *words: None)
        assert answer is file or answer.file is file
        assert file.tell() == 0


@pytest.mark.parametrize(
    ("uri", "prefix", "path", "seen"),
    [
        ("/a/b", "", "/a/b", "/a/b"),
        ("//a///b?x=//", "", "/a/b", "//a///b"),
        ("/a?x=//", "", "/a", "/a"),
        ("/a%2Fb", "", "/a/b", "/a/b"),
        ("/a%2F%2fb", "", "/a/b", "/a//b"),
        ("/%C3%BC//b%25", "", "/\xc3\xbc/b%", "/\xc3\xbc//b%"),
        ("/shop//a", "/shop", "/a", "//a"),
        # What is more than slashes stays as the web server has judged it.
        ("//shop/a", "/shop", "/a", "/a"),
        ("/shop%2F/a", "/shop", "/a", "//a"),
        ("/public//../admin", "", "/admin", "/admin"),
        ("/admin//..%2fpublic", "", "/public", "/public"),
        ("//%2e/admin", "", "/admin", "/admin"),
        ("http://evil.example//admin", "", "/admin", "/admin"),
        ("//other", "", "/admin", "/admin"),
    ],
)
@pytest.mark.parametrize("server", ["uwsgi", "gunicorn"])
def test_slashes_reach_the_app_as_the_client_sent_them(
    load: Callable[..., Callable[..., Any]], uri: str, prefix: str, path: str, seen: str, server: str
) -> None:
    given = {"QUERY_STRING": uri.partition("?")[2]}
    if server == "gunicorn":
        raw = f"{path}?{given['QUERY_STRING']}" if given["QUERY_STRING"] else path
        given |= {"RAW_URI": raw, "HTTP_X_FORWARDED_PREFIX": prefix, "HTTP_X_EMPEROR_STACK_URI": uri}
    else:
        given |= {"PATH_INFO": path, "SCRIPT_NAME": prefix, "REQUEST_URI": uri}
    application = load(
        "def application(e, s): return [e]\n", "emperor_stack_entry" if server == "gunicorn" else "entry"
    )
    (environ,) = application(given, lambda *words: None)
    assert (environ["PATH_INFO"], environ["SCRIPT_NAME"], environ["REQUEST_URI"]) == (seen, prefix, uri)
    assert "HTTP_X_EMPEROR_STACK_URI" not in environ


def test_what_the_server_s_own_body_can_do_besides(load: Callable[[str], Callable[..., Any]]) -> None:
    application = load("def application(e, s): return [e['wsgi.input'].getvalue()]\n")
    assert list(application({"CONTENT_LENGTH": "2", "wsgi.input": io.BytesIO(b"ab")}, None)) == [b"ab"]


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


ECHO = "def application(e, s):\n    s('200 OK', [('A', 'b')])\n    return [e]\n"


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
    (seen,) = load(ECHO, "emperor_stack_entry")(
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
    (seen,) = load(ECHO, "emperor_stack_entry")({**given, **forwarded}, lambda *words: None)
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == (prefix, "/a")


def test_under_uwsgi_it_does_nothing_of_that(load: Callable[..., Callable[..., Any]]) -> None:
    started: list[Any] = []
    given = {"RAW_URI": "/a%41", "PATH_INFO": "/aA", "REMOTE_ADDR": ""}
    assert load(ECHO)(given, lambda *words: started.append(words)) == [given]
    assert started == [("200 OK", [("A", "b")])]
