"""What every process of the app tells its visitors: the messages that come, whichever process has stored them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from starlette.concurrency import run_in_threadpool

from .database import Messages


class Room:
    """Looks into the database while somebody listens."""

    def __init__(self, messages: Messages, seconds: float = 0.2) -> None:
        self.messages = messages
        self.seconds = seconds
        self.last = 0
        self._listeners = 0
        self._looking: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()

    async def listen(self, after: int) -> AsyncIterator[list[dict[str, Any]]]:
        """The messages that follow number *after*: at once those that are there, later the others as they come."""
        self._listeners += 1
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            while True:
                if found := await run_in_threadpool(self.messages.after, after):
                    after = found[-1]["id"]
                    yield found
                async with self._news:
                    while self.last <= after:
                        await self._news.wait()
        finally:
            self._listeners -= 1

    async def _look(self) -> None:
        try:
            while self._listeners:
                last = await run_in_threadpool(self.messages.last)
                if last != self.last:
                    async with self._news:
                        self.last = last
                        self._news.notify_all()
                await asyncio.sleep(self.seconds)
        finally:
            self._looking = None
