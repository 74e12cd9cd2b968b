"""A chat room: a page, a WebSocket that takes messages and tells them to everybody, and the same as server-sent events."""

import asyncio
import json
import os
from contextlib import aclosing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from . import diagnostics
from .database import SHOWN, Messages
from .room import Room

HERE = Path(__file__).resolve().parent
LONGEST = 2000


async def page(request: Request) -> Response:
    return FileResponse(HERE / "page.html", headers={"Cache-Control": "no-cache"})


async def healthz(request: Request) -> Response:
    await run_in_threadpool(request.app.state.room.messages.last)
    return PlainTextResponse("ok\n")


def number(given: str | None, default: int) -> int:
    return int(given) if given and given.isdecimal() and len(given) < 19 else default


async def beginning(room: Room) -> int:
    return max(await run_in_threadpool(room.messages.last) - SHOWN, 0)


async def events(request: Request) -> Response:
    """`id:` is the number of the message: a browser that comes back says which was the last one that it has."""
    room: Room = request.app.state.room
    last = request.headers.get("last-event-id") or request.query_params.get("after")
    after = number(last, await beginning(room))

    async def stream() -> Any:
        yield ": welcome\n\n"
        async with aclosing(room.listen(after)) as news:
            async for found in news:
                yield "".join(f"id: {one['id']}\ndata: {json.dumps(one)}\n\n" for one in found)

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


def is_of_this_site(socket: WebSocket) -> bool:
    """Any page may open a WebSocket to here in its visitor's name, with the visitor's cookies. A browser says whose page."""
    origin = socket.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == socket.headers.get("host")


async def talk(socket: WebSocket) -> None:
    if not is_of_this_site(socket):
        await socket.close()
        return
    await socket.accept()
    room: Room = socket.app.state.room
    after = number(socket.query_params.get("after"), await beginning(room))
    telling = asyncio.create_task(tell(socket, room, after))
    try:
        while True:
            given = json.loads(await socket.receive_text())
            name, text = str(given["name"])[:40], str(given["text"])[:LONGEST]
            stored = await run_in_threadpool(room.messages.add, name or "somebody", text)
            await socket.send_json({"stored": stored, "token": given.get("token")})
    except WebSocketDisconnect:
        pass
    except (ValueError, KeyError, TypeError):
        await socket.close(1003, "a message is JSON with name and text")
    finally:
        telling.cancel()


async def tell(socket: WebSocket, room: Room, after: int) -> None:
    async with aclosing(room.listen(after)) as news:
        try:
            async for found in news:
                for one in found:
                    await socket.send_json(one)
        except (WebSocketDisconnect, RuntimeError):
            pass


def create_app(messages: Messages | None = None, with_diagnostics: bool = False) -> Starlette:
    routes: list[BaseRoute] = [
        Route("/", page),
        Route("/healthz", healthz),
        Route("/events", events),
        WebSocketRoute("/talk", talk),
        Mount("/static", StaticFiles(directory=HERE / "static")),
    ]
    if with_diagnostics:
        routes += diagnostics.ROUTES
    made = Starlette(routes=routes)
    made.state.room = Room(messages or Messages())
    return made


app = create_app(with_diagnostics=os.environ.get("EXAMPLE_DIAGNOSTICS") == "1")
