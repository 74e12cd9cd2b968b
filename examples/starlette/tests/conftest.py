import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from chat.app import create_app
from chat.database import Messages

Message = dict[str, Any]


class Client:
    """One connection to the app, as a server would hand it over."""

    def __init__(self, app: Any, kind: str, path: str, **headers: str) -> None:
        bare, _, query = path.partition("?")
        named = {"host": "chat.example.com", **headers}
        self.scope = {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "https" if kind == "http" else "wss",
            "path": bare,
            "raw_path": bare.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(n.replace("_", "-").encode(), v.encode()) for n, v in named.items()],
            "client": ("192.0.2.7", 0),
            "server": ("chat.example.com", 443),
        }
        self.came: asyncio.Queue[Message] = asyncio.Queue()
        self.sent: asyncio.Queue[Message] = asyncio.Queue()
        self.came.put_nowait({"type": "http.request"} if kind == "http" else {"type": "websocket.connect"})
        self.running = asyncio.create_task(app(self.scope, self.came.get, self.sent.put))

    async def next(self) -> Message:
        return await asyncio.wait_for(self.sent.get(), 5)

    async def json(self) -> Any:
        return json.loads((await self.next())["text"])

    async def answer(self) -> tuple[int, bytes]:
        """Of a request: its status and its whole body."""
        await asyncio.wait_for(self.running, 5)
        messages = [self.sent.get_nowait() for _ in range(self.sent.qsize())]
        return messages[0]["status"], b"".join(one.get("body", b"") for one in messages[1:])

    def say(self, **message: Any) -> None:
        self.came.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})

    async def leave(self) -> None:
        kind = "http.disconnect" if self.scope["type"] == "http" else "websocket.disconnect"
        self.came.put_nowait({"type": kind, "code": 1000})
        if kind == "http.disconnect":
            self.running.cancel()
        await asyncio.wait({self.running}, timeout=5)


@pytest.fixture
def messages(tmp_path: Path) -> Messages:
    made = Messages(tmp_path / "data" / "chat.sqlite3")
    made.migrate()
    return made


@pytest.fixture
def connect(messages: Messages) -> Callable[..., Client]:
    app = create_app(messages, with_diagnostics=True)
    app.state.room.seconds = 0.01
    return lambda *words, **headers: Client(app, *words, **headers)
