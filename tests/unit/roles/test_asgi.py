"""What is around an ASGI app: time limits, and an end in order for what has none of its own."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest

FILE = Path(__file__).resolve().parents[3] / "roles" / "python_apps" / "files" / "asgi.py"
spec = importlib.util.spec_from_file_location("asgi_of_a_release", FILE)
assert spec and spec.loader
asgi = importlib.util.module_from_spec(spec)
spec.loader.exec_module(asgi)

Message = dict[str, Any]
App = Callable[..., Awaitable[None]]
HEADERS = [
    (b"x-real-ip", b"192.0.2.7"),
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-host", b"blog.example.com:8443"),
]
START: Message = {"type": "http.response.start", "status": 200, "headers": []}
RELEASE = (b"x-release", b"r1")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "LOOK", 0.01)
    monkeypatch.setattr(asgi, "GRACE", 0.1)


class Server:
    """gunicorn's side of one connection to *app*, in a host on which activation `blog@1` is live."""

    def __init__(self, place: Path, app: App, **limits: float) -> None:
        self.active = place / "active"
        self.live("blog@1")
        self.logged: list[tuple[Any, ...]] = []
        self.worker = SimpleNamespace(
            alive=True,
            sockets=[SimpleNamespace(getsockname=lambda: "/run/x/blog@1.sock")],
            log=SimpleNamespace(error=lambda *words: self.logged.append(words)),
        )
        self.site = asgi.Site(
            app, "r1", {"request_timeout": 5, "drain": 0.05, "idle": 60, **limits}, str(self.active)
        )
        self.site.begin(self.worker)
        self.sent: list[Message] = []
        self.came: asyncio.Queue[Message] = asyncio.Queue()

    def live(self, activation: str) -> None:
        new = self.active.with_name("new")
        new.symlink_to(f"activations/{activation}")
        os.rename(new, self.active)

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def talk(self, kind: str, *messages: Message, **scope: Any) -> None:
        for message in messages:
            self.came.put_nowait(message)
        given = {"type": kind, "headers": HEADERS, "path": "/a", "raw_path": b"/a", **scope}
        await asyncio.wait_for(self.site(given, self.came.get, self.send), 3)

    @property
    def codes(self) -> list[int]:
        return [message["code"] for message in self.sent if message["type"] == "websocket.close"]

    @property
    def texts(self) -> list[str]:
        return [message["text"] for message in self.sent if "text" in message]


BODY: Message = {"type": "http.request", "body": b"", "more_body": False}
CONNECT: Message = {"type": "websocket.connect"}


def text(number: int) -> Message:
    return {"type": "websocket.receive", "text": str(number)}


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


def test_the_app_sees_the_visitors_request(tmp_path: Path) -> None:
    seen: Message = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope)
        await send(START)
        await send({"type": "http.response.body", "body": b"x"})

    server = Server(tmp_path, app)
    asyncio.run(server.talk("http", BODY, headers=[*HEADERS, (b"x-forwarded-prefix", b"/shop")]))
    wanted = {
        "scheme": "https",
        "client": ("192.0.2.7", 0),
        "server": ("blog.example.com", 8443),
        "root_path": "/shop",
        "path": "/shop/a",
        "raw_path": b"/shop/a",
    }
    assert {name: seen[name] for name in wanted} == wanted
    assert RELEASE in server.sent[0]["headers"]
    for host, of_host in ((b"blog.example.com", "blog.example.com"), (b"[::1]", "[::1]")):
        asyncio.run(server.talk("http", BODY, headers=[(b"x-forwarded-host", host)]))
        assert (seen["scheme"], seen["server"]) == ("http", (of_host, 80))
    asyncio.run(Server(tmp_path, app).talk("websocket", CONNECT))
    assert seen["scheme"] == "wss"


@pytest.mark.parametrize(
    ("uri", "judged", "path", "raw_path"),
    [
        ("/a//b?c=//d", "/a/b", "/a//b", "/a//b"),
        ("/a%2Fb", "/a/b", "/a/b", "/a%2Fb"),
        ("/gr%C3%BC%C3%9Fe//x", "/gr%C3%BC%C3%9Fe/x", "/grüße//x", "/gr%C3%BC%C3%9Fe//x"),
        # What nginx has judged is what the app sees.
        ("/admin/../open//x", "/open/x", "/open/x", "/open/x"),
        ("/open/%2e%2e/admin", "/admin", "/admin", "/admin"),
        ("//admin/..%2f/open", "/open", "/open", "/open"),
        ("", "/a", "/a", "/a"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "/shop"])
def test_the_path_is_what_nginx_has_judged_with_the_slashes_that_were_sent(
    tmp_path: Path, uri: str, judged: str, path: str, raw_path: str, prefix: str
) -> None:
    seen: Message = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope)

    headers = [
        (b"x-emperor-stack-uri", (uri and prefix + uri).encode()),
        (b"x-forwarded-prefix", prefix.encode()),
    ]
    given = {"path": unquote(judged), "raw_path": judged.encode(), "headers": headers}
    asyncio.run(Server(tmp_path, app).talk("http", BODY, **given))
    assert (seen["path"], seen["raw_path"]) == (prefix + path, (prefix + raw_path).encode())
    assert not any(name == b"x-emperor-stack-uri" for name, _ in seen["headers"])


def test_an_answer_that_does_not_begin_in_time_is_a_504(tmp_path: Path) -> None:
    """Also of an app that waits for a thread, which nobody can end."""
    ended = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)
            ended.append("late")
            await send(START)

    server = Server(tmp_path, app, request_timeout=0.05)
    asyncio.run(server.talk("http", BODY))
    assert [message["type"] for message in server.sent] == ["http.response.start", "http.response.body"]
    assert server.sent[0]["status"] == 504
    assert ended == ["late"]
    assert server.logged == [("%r: no answer within %s s", "/a", 0.05)]


def test_an_answer_that_has_begun_has_time(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({**START, "headers": [(b"Content-Length", b"2")]})
        await asyncio.sleep(0.15)
        await send({"type": "http.response.body", "body": b"ok"})

    server = Server(tmp_path, app, request_timeout=0.05)
    asyncio.run(server.talk("http", BODY))
    assert (server.sent[0]["status"], server.sent[1]["body"]) == (200, b"ok")


@pytest.mark.parametrize("kind", [b"text/event-stream; charset=utf-8", b"application/x-ndjson"])
def test_events_are_passed_on_at_once(tmp_path: Path, kind: bytes) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({**START, "headers": [(b"Content-Type", kind)]})
        await send({"type": "http.response.body"})

    server = Server(tmp_path, app)
    asyncio.run(server.talk("http", BODY))
    assert (b"x-accel-buffering", b"no") in server.sent[0]["headers"]


async def streaming(send: Any) -> None:
    await send(START)
    while True:
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await asyncio.sleep(0.01)


async def that_sends(scope: Any, receive: Any, send: Any) -> None:
    await streaming(send)


async def that_listens(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send(START)
    while (await receive())["type"] != "http.disconnect":
        pass


async def that_does_neither(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await asyncio.sleep(10)


@pytest.mark.parametrize("app", [that_sends, that_listens, that_does_neither])
@pytest.mark.parametrize("why", ["switch", "stop", "idle"])
def test_a_stream_ends_in_order(tmp_path: Path, app: App, why: str) -> None:
    async def run() -> None:
        talk = asyncio.create_task(server.talk("http", BODY))
        await asyncio.sleep(0.03)
        if why == "switch":
            server.live("blog@2")
        server.worker.alive = why != "stop"
        await talk

    if why == "idle" and app is that_sends:
        pytest.skip("it is never idle")
    server = Server(tmp_path, app, idle=0.05 if why == "idle" else 60)
    asyncio.run(run())
    assert server.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert not server.site.connections


def test_an_answer_with_a_length_is_never_ended(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({**START, "headers": [(b"content-length", b"2")]})
        server.live("blog@2")
        server.worker.alive = False
        await asyncio.sleep(0.3)
        await send({"type": "http.response.body", "body": b"ok"})

    server = Server(tmp_path, app, idle=0.05)
    asyncio.run(server.talk("http", BODY))
    assert server.sent[-1]["body"] == b"ok"


def test_an_error_of_the_app_stays_one(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("broken")

    for kind in ("http", "websocket"):
        with pytest.raises(ValueError, match="broken"):
            asyncio.run(Server(tmp_path, app).talk(kind, BODY))


async def that_pushes(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})
    number = 0
    while True:
        await send({"type": "websocket.send", "text": str(number)})
        number += 1
        await asyncio.sleep(0.01)


async def that_is_mute(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})
    await asyncio.sleep(10)


@pytest.mark.parametrize("app", [echo, that_pushes])
@pytest.mark.parametrize(("why", "code"), [("switch", 1012), ("stop", 1012)])
def test_a_websocket_is_closed_with_a_code(tmp_path: Path, app: App, why: str, code: int) -> None:
    async def run() -> None:
        talk = asyncio.create_task(server.talk("websocket", CONNECT, text(1)))
        await asyncio.sleep(0.03)
        if why == "switch":
            server.live("blog@2")
        server.worker.alive = why != "stop"
        await talk

    server = Server(tmp_path, app)
    asyncio.run(run())
    assert server.codes == [code]
    # Nothing after it.
    assert server.sent[-1]["type"] == "websocket.close"
    assert RELEASE in server.sent[0]["headers"]


def test_an_app_that_only_sends_is_ended_between_two_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        talk = asyncio.create_task(server.talk("websocket", CONNECT))
        await asyncio.sleep(0.03)
        server.worker.alive = False
        await talk

    monkeypatch.setattr(asgi, "GRACE", 60)
    server = Server(tmp_path, that_pushes)
    asyncio.run(run())
    assert server.codes == [1012]


def test_a_websocket_whose_app_neither_waits_nor_sends_is_closed_all_the_same(tmp_path: Path) -> None:
    async def run() -> None:
        talk = asyncio.create_task(server.talk("websocket", CONNECT))
        await asyncio.sleep(0.03)
        server.worker.alive = False
        await asyncio.sleep(0.3)
        assert server.codes == [1012]
        talk.cancel()

    server = Server(tmp_path, that_is_mute)
    asyncio.run(run())


def test_an_idle_websocket_goes_away(tmp_path: Path) -> None:
    server = Server(tmp_path, echo, idle=0.05)
    asyncio.run(server.talk("websocket", CONNECT, text(1)))
    assert (server.texts, server.codes) == (["1"], [1001])


def test_what_an_app_has_taken_is_answered_before_the_close(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        server.worker.alive = False
        await asyncio.sleep(0.06)
        await send({"type": "websocket.send", "text": message["text"]})
        assert (await receive()) == {"type": "websocket.disconnect", "code": 1012}

    server = Server(tmp_path, app)
    asyncio.run(server.talk("websocket", CONNECT, text(1)))
    assert (server.texts, server.codes) == (["1"], [1012])


def test_a_websocket_has_its_time_after_the_switch_and_stays_after_a_rollback(tmp_path: Path) -> None:
    async def run() -> None:
        talk = asyncio.create_task(server.talk("websocket", CONNECT))
        await asyncio.sleep(0.03)
        server.live("blog@2")
        await asyncio.sleep(0.1)
        server.came.put_nowait(text(1))
        await asyncio.sleep(0.03)
        assert server.texts == ["1"]
        server.live("blog@1")
        await asyncio.sleep(0.3)
        assert server.codes == []
        server.came.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await talk

    server = Server(tmp_path, echo, drain=0.2)
    asyncio.run(run())


def test_what_is_not_live_yet_is_not_ended(tmp_path: Path) -> None:
    """The probe of a deploy, whose answer has no length."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await asyncio.sleep(0.3)
        await send({"type": "http.response.body", "body": b"ok"})

    server = Server(tmp_path, app)
    server.live("blog@0")
    asyncio.run(server.talk("http", BODY))
    assert server.sent[-1]["body"] == b"ok"


def test_a_handshake_has_a_limit(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(10)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(Server(tmp_path, app, request_timeout=0.05).talk("websocket", CONNECT))


def test_the_lifespan_is_the_apps(tmp_path: Path) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["type"], await receive()))

    asyncio.run(Server(tmp_path, app).talk("lifespan", {"type": "lifespan.startup"}))
    assert seen == [("lifespan", {"type": "lifespan.startup"})]
