"""Bounded visitors of the chat that run on the test host, and write down what became of each message and each stream.

Standard library only, so that they can be copied to a host and run there with `python3 visitors.py …`. They stop when the
stop file appears, and by themselves after --seconds.

A message is lost when its connection ends without an answer and without a close code, or when nobody is told of it although
it was confirmed. A stream is cut when its answer has no end. Who is told to leave comes back, and says what he has seen.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import struct
import time
from pathlib import Path
from typing import Any

#: Seconds that an answer may take, and between two messages of one visitor.
LONGEST, PAUSE = 20.0, 0.1

TEXT, CLOSE, PING = 1, 8, 9


class Cut(Exception):
    """A connection ended as no connection must."""


def frame(opcode: int, payload: bytes) -> bytes:
    """A short frame as clients send it: masked."""
    mask = os.urandom(4)
    head = bytes([0x80 | opcode, 0x80 | len(payload)]) + mask
    return head + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readexactly(2)
    size = head[1] & 0x7F
    if size == 126:
        size = struct.unpack("!H", await reader.readexactly(2))[0]
    return head[0] & 0x0F, await reader.readexactly(size)


class Visitors:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.stop = Path(arguments.stop)
        self.deadline = time.monotonic() + arguments.seconds
        self.over = 0.0
        self.talking = arguments.talkers
        self.sent = self.answered = self.retried = 0
        self.confirmed: set[str] = set()
        self.told: set[str] = set()
        self.codes: dict[int, int] = {}
        self.ended_streams = 0
        self.releases: set[str] = set()
        self.failures: list[str] = []

    def running(self) -> bool:
        return time.monotonic() < self.deadline and not self.stop.exists()

    def done(self) -> bool:
        """Whether the test is over and all was told, or will not be told any more."""
        if self.running():
            return False
        self.over = self.over or time.monotonic()
        # A talker may still wait for an answer.
        everything = not self.talking and self.confirmed <= self.told
        return everything or time.monotonic() - self.over > 2 * LONGEST

    def failed(self, what: str) -> None:
        self.failures.append(f"{time.time():.2f} {what}")

    async def open(self, path: str, **headers: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
        """A request, of which the head of the answer is read."""
        reader, writer = await asyncio.open_connection("127.0.0.1", 80)
        lines = [f"GET {path} HTTP/1.1", f"Host: {self.arguments.host}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LONGEST)).decode("latin-1")
        for line in head.split("\r\n"):
            if line.lower().startswith("x-release:"):
                self.releases.add(line.partition(":")[2].strip())
        return reader, writer, head.split("\r\n")[0]

    # WebSockets

    async def talker(self, number: int) -> None:
        count = 0
        waiting: list[str] = []
        while self.running():
            key = base64.b64encode(os.urandom(16)).decode()
            writer = None
            try:
                reader, writer, status = await self.open(
                    "/talk?after=999999999",
                    Upgrade="websocket",
                    Connection="Upgrade",
                    Sec_WebSocket_Version="13",
                    Sec_WebSocket_Key=key,
                )
                if " 101 " not in status:
                    raise Cut(f"the handshake was answered {status}")
                while self.running() or waiting:
                    if not waiting:
                        count += 1
                        self.sent += 1
                        waiting.append(f"{number}-{count}")
                    message = {"name": str(number), "text": waiting[0], "token": waiting[0]}
                    writer.write(frame(TEXT, json.dumps(message).encode()))
                    code = await asyncio.wait_for(self.answer(reader, writer, waiting[0]), LONGEST)
                    if code:
                        self.codes[code] = self.codes.get(code, 0) + 1
                        self.retried += 1
                        break
                    self.answered += 1
                    waiting.clear()
                    await asyncio.sleep(PAUSE)
            except (Cut, OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                self.failed(f"talker {number}, message {waiting}: {type(error).__name__} {error}")
                waiting.clear()
                await asyncio.sleep(0.5)
            finally:
                if writer is not None:
                    writer.close()
        self.talking -= 1

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> int:
        """Read up to the confirmation of *token*: 0, or the code with which the server closed before."""
        while True:
            opcode, payload = await read_frame(reader)
            if opcode == CLOSE:
                code = int(struct.unpack("!H", payload[:2])[0]) if payload else 1005
                with contextlib.suppress(OSError):
                    writer.write(frame(CLOSE, payload[:2]))
                return code
            if opcode == TEXT:
                said = json.loads(payload)
                if said.get("token") == token:
                    self.confirmed.add(token)
                    return 0

    # Streams

    async def listener(self, number: int) -> None:
        last = ""
        while not self.done():
            writer = None
            try:
                headers = {"Last_Event_ID": last} if last else {}
                reader, writer, status = await self.open("/events", **headers)
                if " 200 " not in status:
                    raise Cut(f"the stream was answered {status}")
                last = await self.listen(reader, last)
            except (Cut, OSError, asyncio.IncompleteReadError, ValueError) as error:
                self.failed(f"listener {number}: {type(error).__name__} {error}")
                await asyncio.sleep(0.5)
            finally:
                if writer is not None:
                    writer.close()

    async def listen(self, reader: asyncio.StreamReader, last: str) -> str:
        """Read whole events up to the end of the stream, or of the test. Returns the number of the last one."""
        text = ""
        while True:
            try:
                line = await asyncio.wait_for(reader.readline(), 1)
            except TimeoutError:
                if self.done():
                    return last
                continue
            size = int(line.strip() or b"x", 16)
            text += (await reader.readexactly(size)).decode()
            await reader.readexactly(2)
            if not size:
                if text:
                    raise Cut(f"half an event: {text!r}")
                self.ended_streams += 1
                return last
            *events, text = text.split("\n\n")
            for event in events:
                if not event.startswith("id: "):
                    continue
                first, data = event.split("\n", 1)
                came = first.removeprefix("id: ")
                if last and int(came) != int(last) + 1:
                    raise Cut(f"event {came} follows {last}")
                last = came
                self.told.add(json.loads(data.removeprefix("data: "))["text"])
            if self.done():
                return last

    async def run(self) -> dict[str, Any]:
        async with asyncio.timeout(self.arguments.seconds + 60):
            await asyncio.gather(
                *(self.talker(number) for number in range(self.arguments.talkers)),
                *(self.listener(number) for number in range(self.arguments.listeners)),
            )
        return {
            "sent": self.sent,
            "answered": self.answered,
            "retried": self.retried,
            "codes": self.codes,
            "untold": sorted(self.confirmed - self.told),
            "ended_streams": self.ended_streams,
            "releases": sorted(self.releases),
            "failures": self.failures,
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--talkers", type=int, default=6)
    parser.add_argument("--listeners", type=int, default=3)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--stop", required=True)
    print(json.dumps(asyncio.run(Visitors(parser.parse_args()).run())))


if __name__ == "__main__":
    main()
