import asyncio
import json
from collections.abc import Callable

from chat.database import Messages
from conftest import Client

Connect = Callable[..., Client]


def test_the_page_and_its_files(connect: Connect) -> None:
    async def run() -> None:
        status, body = await connect("http", "/").answer()
        assert status == 200 and b"<h1>What is going on?</h1>" in body
        for path in ("/static/chat.js", "/static/style.css", "/healthz"):
            assert (await connect("http", path).answer())[0] == 200
        assert (await connect("http", "/static/../app.py").answer())[0] == 404

    asyncio.run(run())


def test_what_one_says_all_are_told(connect: Connect) -> None:
    async def run() -> None:
        ada, bob = connect("websocket", "/talk"), connect("websocket", "/talk")
        for one in (ada, bob):
            assert (await one.next())["type"] == "websocket.accept"
        ada.say(name="Ada", text="Grüße", token="t1")
        both = [await ada.json(), await ada.json()]
        assert {"stored": 1, "token": "t1"} in both
        assert {"id": 1, "name": "Ada", "text": "Grüße"} in both
        assert await bob.json() == {"id": 1, "name": "Ada", "text": "Grüße"}
        for one in (ada, bob):
            await one.leave()

    asyncio.run(run())


def test_who_comes_back_gets_what_was_missed(connect: Connect, messages: Messages) -> None:
    for text in ("one", "two", "three"):
        messages.add("Ada", text)

    async def run() -> None:
        back = connect("websocket", "/talk?after=1")
        assert (await back.next())["type"] == "websocket.accept"
        assert [(await back.json())["text"], (await back.json())["text"]] == ["two", "three"]
        await back.leave()

    asyncio.run(run())


def test_the_same_as_events(connect: Connect, messages: Messages) -> None:
    messages.add("Ada", "one")

    async def run() -> None:
        stream = connect("http", "/events", last_event_id="0")
        start = await stream.next()
        assert dict(start["headers"])[b"content-type"].startswith(b"text/event-stream")
        assert (await stream.next())["body"] == b": welcome\n\n"
        first = (await stream.next())["body"].decode()
        assert first.startswith("id: 1\ndata: ") and json.loads(first.splitlines()[1][6:])["text"] == "one"
        messages.add("Bob", "two")
        assert (await stream.next())["body"].startswith(b"id: 2\n")
        await stream.leave()

    asyncio.run(run())


def test_pages_of_others_cannot_speak_for_a_visitor(connect: Connect) -> None:
    async def run() -> None:
        other = connect("websocket", "/talk", origin="https://elsewhere.example")
        assert (await other.next())["type"] == "websocket.close"
        own = connect("websocket", "/talk", origin="https://chat.example.com")
        assert (await own.next())["type"] == "websocket.accept"
        await own.leave()

    asyncio.run(run())


def test_what_is_no_message_closes_the_connection(connect: Connect) -> None:
    async def run() -> None:
        broken = connect("websocket", "/talk")
        assert (await broken.next())["type"] == "websocket.accept"
        broken.came.put_nowait({"type": "websocket.receive", "text": "[]"})
        assert (await broken.next())["code"] == 1003

    asyncio.run(run())


def test_diagnostics(connect: Connect) -> None:
    async def run() -> None:
        status, body = await connect("http", "/diagnostics/scope").answer()
        assert (status, json.loads(body)["client"]) == (200, ["192.0.2.7", 0])

    asyncio.run(run())
