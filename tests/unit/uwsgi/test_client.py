"""The uwsgi protocol towards a server that speaks it, well or badly."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.uwsgi import client as uwsgi_client
from ansible_collections.emperor.stack.plugins.module_utils.uwsgi.sockets import NoAnswer
from hypothesis import given
from hypothesis import strategies as st

Serve = Callable[[Callable[[socket.socket], None]], str]

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Release: 20261122T193000-ab12cd3\r\n\r\nhello"


def unpack(raw: bytes) -> dict[str, str]:
    """The variables of a packet, by the protocol's definition."""
    modifier1, size, modifier2 = struct.unpack("<BHB", raw[:4])
    assert (modifier1, modifier2) == (0, 0)
    assert size == len(raw) - 4
    parts, rest = [], raw[4:]
    while rest:
        (length,) = struct.unpack("<H", rest[:2])
        parts.append(rest[2 : 2 + length].decode())
        rest = rest[2 + length :]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def receive(connection: socket.socket) -> bytes:
    raw = b""
    while len(raw) < 4 or len(raw) < 4 + struct.unpack("<H", raw[1:3])[0]:
        raw += connection.recv(4096)
    return raw


def answer(raw: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        receive(connection)
        connection.sendall(raw)

    return talk


@given(st.dictionaries(st.text(max_size=30), st.text(max_size=300), max_size=20))
def test_a_packet_holds_its_variables(variables: dict[str, str]) -> None:
    assert unpack(uwsgi_client.packet(variables)) == variables


@pytest.mark.parametrize(
    "variables",
    [{"A": "x" * 70_000}, {f"A{number}": "x" * 1000 for number in range(66)}],
    ids=["one value", "all together"],
)
def test_a_packet_that_is_too_large_is_refused(variables: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="a uwsgi packet holds 65535"):
        uwsgi_client.packet(variables)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", {"REQUEST_URI": "/", "PATH_INFO": "/", "QUERY_STRING": ""}),
        (
            "/healthz?full=1",
            {"REQUEST_URI": "/healthz?full=1", "PATH_INFO": "/healthz", "QUERY_STRING": "full=1"},
        ),
        # nginx hands the decoded path over, and frameworks do not decode it again.
        (
            "/gr%C3%BC%C3%9Fe?q=%20",
            {"REQUEST_URI": "/gr%C3%BC%C3%9Fe?q=%20", "PATH_INFO": "/grüße", "QUERY_STRING": "q=%20"},
        ),
    ],
)
def test_the_variables_are_those_that_nginx_sends(path: str, expected: dict[str, str]) -> None:
    found = uwsgi_client.get_variables(path, "blog.example.com")
    assert found.items() >= expected.items()
    assert found["HTTP_HOST"] == found["SERVER_NAME"] == "blog.example.com"
    assert "HTTPS" not in found


def test_what_stands_before_the_path_is_said_apart() -> None:
    found = uwsgi_client.get_variables("/up?a", "h", prefix="/shop")
    assert (found["REQUEST_URI"], found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/shop/up?a", "/shop", "/up")
    assert found["HTTP_X_FORWARDED_PREFIX"] == "/shop"
    assert "HTTP_X_FORWARDED_PREFIX" not in uwsgi_client.get_variables("/", "h")


def test_https_is_said_in_all_three_ways() -> None:
    found = uwsgi_client.get_variables("/", "h", scheme="https")
    assert (found["HTTPS"], found["REQUEST_SCHEME"], found["SERVER_PORT"]) == ("on", "https", "443")


def test_an_app_that_speaks_http_is_asked_so(serve: Serve) -> None:
    seen: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        seen.append(connection.recv(4096))
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nX-Release: r1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        )

    request = uwsgi_client.http_request("/up?a", "blog.example.com", "https", "/shop")
    found = uwsgi_client.ask(serve(talk), request, 2)
    assert (found.status, found.body, found.release) == (200, b"ok", "r1")
    lines = seen[0].decode().split("\r\n")
    assert lines[0] == "GET /up?a HTTP/1.1"
    assert {"Host: blog.example.com", "Connection: close", "X-Forwarded-Proto: https"} <= set(lines)
    assert "X-Forwarded-Prefix: /shop" in lines


def test_a_server_gets_the_request_and_its_answer_is_read(serve: Serve) -> None:
    seen: list[dict[str, str]] = []

    def talk(connection: socket.socket) -> None:
        seen.append(unpack(receive(connection)))
        for position in range(0, len(GOOD), 7):
            connection.sendall(GOOD[position : position + 7])

    found = uwsgi_client.ask(serve(talk), uwsgi_client.get_variables("/x", "blog.example.com"), 2)
    assert (found.status, found.body, found.release) == (200, b"hello", "20261122T193000-ab12cd3")
    assert seen[0]["HTTP_HOST"] == "blog.example.com"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "nothing"),
        (b"\0\0\0\0", "no HTTP response"),
        (GOOD[:-1], "IncompleteRead"),
        (GOOD[:9], "no HTTP response"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "IncompleteRead"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhel", "no HTTP response"),
    ],
    ids=["empty", "no HTTP", "body cut", "status cut", "chunk cut", "bad chunk"],
)
def test_what_is_no_whole_answer_is_none(serve: Serve, raw: bytes, reason: str) -> None:
    with pytest.raises(NoAnswer, match=reason):
        uwsgi_client.ask(serve(answer(raw)), {"A": "b"}, 2)


def test_a_server_that_hangs_is_given_up(serve: Serve) -> None:
    began = time.monotonic()
    with pytest.raises(NoAnswer, match="timed out"):
        uwsgi_client.ask(serve(lambda connection: time.sleep(0.6)), {"A": "b"}, 0.2)
    assert time.monotonic() - began < 0.5


def test_the_time_limit_is_for_the_whole_answer(serve: Serve) -> None:
    def drip(connection: socket.socket) -> None:
        receive(connection)
        for byte in GOOD:
            connection.sendall(bytes([byte]))
            time.sleep(0.1)

    began = time.monotonic()
    with pytest.raises(NoAnswer, match="timed out"):
        uwsgi_client.ask(serve(drip), {"A": "b"}, 0.4)
    assert time.monotonic() - began < 1


def endless(connection: socket.socket) -> None:
    receive(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Release: r1\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def test_an_answer_without_an_end_is_read_as_far_as_it_is_needed(serve: Serve) -> None:
    found = uwsgi_client.ask(serve(endless), {"A": "b"}, 5)
    assert (found.status, found.release) == (200, "r1")
    assert len(found.body) < uwsgi_client.ANSWER_BYTES


def test_a_long_answer_is_a_right_one(serve: Serve) -> None:
    length = 3 * uwsgi_client.ANSWER_BYTES
    raw = b"HTTP/1.1 200 OK\r\nX-Release: r1\r\nContent-Length: %d\r\n\r\n" % length + b"x" * length
    assert uwsgi_client.ask(serve(answer(raw)), {"A": "b"}, 5).status == 200


@pytest.mark.parametrize("listening", [False, True])
def test_no_socket_or_nobody_behind_it(tmp_path: Path, listening: bool) -> None:
    path = str(tmp_path / "none.sock")
    if listening:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(path)
    with pytest.raises(NoAnswer, match=r"none\.sock: .*(No such file|refused)"):
        uwsgi_client.ask(path, {"A": "b"}, 1)


HEAD = b"HTTP/1.1 200 OK\r\nX-Release: r1\r\n"


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"\r\n",
        HEAD + b"Content-Length: 99999999\r\n\r\n",
        HEAD + b"Content-Length: %s\r\n\r\n" % (b"9" * 30),
    ],
    ids=["no length", "a length", "a length beyond all"],
)
def test_of_an_answer_without_an_end_the_beginning_counts(serve: Serve, head: bytes) -> None:
    def flood(connection: socket.socket) -> None:
        receive(connection)
        connection.sendall(head)
        while True:
            connection.sendall(b"x" * 65536)

    found = uwsgi_client.ask(serve(flood), {"A": "b"}, 5)
    assert (found.status, found.release, found.body) == (200, "r1", b"x" * 4096)


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"Content-Length: %s\r\n\r\nx" % (b"9" * 30),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n%s\r\nx" % (b"f" * 30),
        HEAD + b"X: y\r\n" * 200 + b"\r\n",
        HEAD + b"X: " + b"y" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 " + b"9" * 5000 + b" OK\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    ],
    ids=["length", "chunk", "headers", "header", "status", "interim answers"],
)
def test_what_nobody_can_read_is_no_answer(serve: Serve, raw: bytes) -> None:
    with pytest.raises(NoAnswer, match="no HTTP response"):
        uwsgi_client.ask(serve(answer(raw)), {"A": "b"}, 2)


@pytest.mark.parametrize("drips", [False, True], ids=["endless", "drips"])
def test_an_answer_through_the_front_is_bounded(drips: bool) -> None:
    ended = threading.Event()

    def talk(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Release: r1\r\n\r\n")
            while not ended.is_set():
                connection.sendall(b"x" if drips else b"x" * 65536)
                time.sleep(0.05 if drips else 0)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=talk, args=(listener,), daemon=True)
        thread.start()
        try:
            if drips:
                with pytest.raises(NoAnswer, match="timed out"):
                    uwsgi_client.ask_http("blog", "/", 0.5, listener.getsockname()[1])
            else:
                found = uwsgi_client.ask_http("blog", "/", 5, listener.getsockname()[1])
                assert len(found.body) == uwsgi_client.ANSWER_BYTES
        finally:
            ended.set()
            thread.join(timeout=3)


@pytest.mark.parametrize(
    ("answers", "status"), [(True, 302), (False, None)], ids=["an answer", "closed without one"]
)
def test_through_the_front(answers: bool, status: int | None) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not answers:
                return
            self.send_response(302)
            self.send_header("X-Release", self.headers["Host"])
            self.send_header("X-Probe", self.headers["X-Emperor-Stack-Probe"])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request, daemon=True)
        thread.start()
        port = server.server_address[1]
        if answers:
            found = uwsgi_client.ask_http("blog.example.com", "/", 2, port, "https")
            assert (found.status, found.release) == (status, "blog.example.com")
            assert found.headers["x-probe"] == "https"
        else:
            with pytest.raises(NoAnswer, match=f"nginx on port {port}: "):
                uwsgi_client.ask_http("blog.example.com", "/", 2, port)
        thread.join(timeout=3)


@pytest.mark.parametrize(
    ("status", "release", "methods", "outcome"),
    [
        (200, "r1", ["GET"], 200),
        (401, "", ["GET", "HEAD"], 200),
        (503, "", ["GET", "HEAD"], 200),
        (403, "r1", ["GET"], 403),
        (502, "", ["GET"], 502),
    ],
    ids=["good", "a password", "maintenance", "the app's own", "no app"],
)
def test_what_nginx_refuses_visitors_is_asked_by_head(
    status: int, release: str, methods: list[str], outcome: int
) -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append(self.command)
            self.send_response(status if self.command == "GET" else 200)
            if release or self.command == "HEAD":
                self.send_header("X-Release", release or "r1")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD = answer

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=lambda: [server.handle_request() for _ in methods])
        thread.start()
        found = uwsgi_client.ask_http("blog.example.com", "/", 2, server.server_address[1])
        thread.join(timeout=5)
    assert (asked, found.status) == (methods, outcome)
