"""A bounded load client that runs on the test host and writes down every answer with the release that gave it.

Standard library only, so that it can be copied to a host and run there with `python3 load.py …`. An answer is good, or it
is a failure with a reason. The client stops when the stop file appears, and by itself after --seconds.

Mix: half of the requests on new connections, half on kept ones, a share of them POSTs whose body must come back counted and
hashed, plus a request that takes three seconds, all the time. A kept connection that the server closed before the first
byte of an answer is used once more from new, as browsers do (RFC 9112, 9.3.1); those are counted as `reopened`.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import ssl
import time
from pathlib import Path
from typing import IO, Any

KEPT_CONNECTIONS = 10
LONGEST_ANSWER = 30.0


class Failure(Exception):
    pass


class ClosedBeforeAnswer(Exception):
    pass


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """One whole HTTP/1.1 response. Raises Failure for a truncated one."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            raise ClosedBeforeAnswer from error
        raise Failure("truncated in the head") from error
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
    try:
        if "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        elif headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int((await reader.readline()).strip() or b"x", 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
        else:
            body = await reader.read()
    except (asyncio.IncompleteReadError, ValueError) as error:
        raise Failure("truncated in the body") from error
    return int(first.split()[1]), headers, body


class Client:
    def __init__(self, arguments: argparse.Namespace, out: IO[str]) -> None:
        self.arguments = arguments
        self.out = out
        self.stop = Path(arguments.stop)
        self.deadline = time.monotonic() + arguments.seconds
        self.secured: dict[str, Any] = {}
        if arguments.tls:
            # Whether the certificate is the right one is asked elsewhere; here, whether there is always an answer.
            anything = ssl.create_default_context()
            anything.check_hostname = False
            anything.verify_mode = ssl.CERT_NONE
            self.secured = {"ssl": anything, "server_hostname": arguments.host}
        self.counts = {"total": 0, "failed": 0, "truncated": 0, "reopened": 0}

    def running(self) -> bool:
        return time.monotonic() < self.deadline and not self.stop.exists()

    def request(self, path: str, keep: bool, body: bytes | None) -> bytes:
        lines = [
            f"{'POST' if body is not None else 'GET'} {path} HTTP/1.1",
            f"Host: {self.arguments.host}",
            f"Connection: {'keep-alive' if keep else 'close'}",
        ]
        if body is not None:
            lines += ["Content-Type: application/octet-stream", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + (body or b"")

    def judge(self, status: int, headers: dict[str, str], body: bytes, sent: bytes | None) -> str | None:
        if status != 200:
            return f"status {status}"
        if sent is not None:
            echo = json.loads(body)
            if echo["length"] != len(sent) or echo["sha256"] != hashlib.sha256(sent).hexdigest():
                return "the app got another body"
        return None

    def note(self, kind: str, path: str, began: float, **result: Any) -> None:
        self.counts["total"] += 1
        if result.get("failure"):
            self.counts["failed"] += 1
            self.counts["truncated"] += "truncated" in result["failure"]
        self.out.write(
            json.dumps({"began": began, "ended": time.time(), "kind": kind, "path": path, **result}) + "\n"
        )

    async def exchange(self, kind: str, path: str, body: bytes | None, kept: list[Any] | None) -> None:
        """One request and its verdict. *kept* holds the kept connection between calls."""
        began = time.time()
        for attempt in (1, 2):
            reused = bool(kept)
            try:
                if kept:
                    reader, writer = kept
                else:
                    reader, writer = await asyncio.open_connection(
                        self.arguments.address, self.arguments.port, **self.secured
                    )
                writer.write(self.request(path, kept is not None, body))
                await writer.drain()
                status, headers, answer = await asyncio.wait_for(read_answer(reader), LONGEST_ANSWER)
            except (ClosedBeforeAnswer, ConnectionError) as error:
                self.close(kept)
                if reused and attempt == 1 and body is None:
                    self.counts["reopened"] += 1
                    continue
                self.note(kind, path, began, failure=f"no answer: {type(error).__name__}")
                return
            except (Failure, TimeoutError, OSError) as error:
                self.close(kept)
                self.note(kind, path, began, failure=str(error) or type(error).__name__)
                return
            if kept is None or headers.get("connection") == "close":
                writer.close()
                if kept is not None:
                    kept.clear()
            elif not kept:
                kept[:] = [reader, writer]
            failure = self.judge(status, headers, answer, body)
            # The second from an app that tells visitors behind a balancer, where nginx tells nobody.
            release = headers.get("x-release") or headers.get("x-app-release")
            self.note(
                kind, path, began, status=status, release=release, **({"failure": failure} if failure else {})
            )
            return

    @staticmethod
    def close(kept: list[Any] | None) -> None:
        if kept:
            kept[1].close()
            kept.clear()

    async def steady(self, kind: str, per_second: float, kept: list[Any] | None) -> None:
        """Requests at a steady pace; one that is late does not hold up the others, as they are tasks of their own."""
        paths = self.arguments.path
        due = time.monotonic()
        number = 0
        tasks: set[asyncio.Task[None]] = set()
        while self.running():
            number += 1
            body = b"x" * 20_000 if self.arguments.echo and number % 10 == 0 else None
            path = self.arguments.echo if body else paths[number % len(paths)]
            if kept is None:
                task = asyncio.create_task(self.exchange(kind, path, body, None))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            else:
                # A POST is not repeated on a closed connection, so it gets a new one, as careful clients do.
                await self.exchange(kind, path, body, None if body else kept)
            due += 1 / per_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        if tasks:
            await asyncio.wait(tasks)

    async def slow(self) -> None:
        while self.running() and self.arguments.slow:
            await self.exchange("slow", self.arguments.slow, None, None)

    async def run(self) -> None:
        half = self.arguments.rate / 2
        kept = [self.steady("kept", half / KEPT_CONNECTIONS, []) for _ in range(KEPT_CONNECTIONS)]
        await asyncio.gather(self.steady("new", half, None), *kept, self.slow())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=80)
    parser.add_argument("--tls", action="store_true", help="speak HTTPS, with any certificate")
    parser.add_argument("--path", action="append", required=True)
    parser.add_argument("--echo", help="path that answers a POST with the length and sha256 of its body")
    parser.add_argument("--slow", help="path that takes some seconds")
    parser.add_argument("--rate", type=float, default=220, help="requests per second, slow ones not counted")
    parser.add_argument("--seconds", type=float, default=60, help="end after so many seconds at the latest")
    parser.add_argument("--stop", required=True, help="end when this file exists")
    parser.add_argument("--out", required=True, help="file for one JSON line per answer")
    arguments = parser.parse_args()
    with open(arguments.out, "w", encoding="utf-8") as out:
        client = Client(arguments, out)
        began = time.monotonic()
        asyncio.run(client.run())
        summary = {**client.counts, "seconds": time.monotonic() - began}
        out.write(json.dumps({"summary": summary}) + "\n")


if __name__ == "__main__":
    main()
