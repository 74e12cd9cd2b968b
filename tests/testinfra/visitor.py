"""A visitor of an app over the network: requests with cookies and forms, and a WebSocket."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

from testinfra.host import Host

PATIENCE = 30
TEXT, CLOSE = 1, 8


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.cookies = SimpleCookie()
        for value in response.headers.get_all("Set-Cookie") or []:
            self.cookies.load(value)
        self.body = response.read()

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


class Visitor:
    """A fresh browser at *domain*, which knows its cookies."""

    def __init__(self, machine: Host, domain: str) -> None:
        self.address = machine.check_output("hostname -I").split()[0]
        self.domain = domain
        self.cookies: dict[str, str] = {}
        self.headers: dict[str, str] = {}

    def log_in(self, user: str, password: str) -> None:
        """By basic auth, in all further requests."""
        word = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.headers["Authorization"] = f"Basic {word}"

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        *,
        form: Mapping[str, object] | None = None,
        data: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; with the fields of a *form*, or with *data* as JSON."""
        sent = {"Host": self.domain, **self.headers}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if form is not None:
            body = urlencode(form, doseq=True)
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        elif data is not None:
            body = json.dumps(data)
            sent["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        connection.request(method, path, body, {**sent, **(headers or {})})
        answer = Answer(connection.getresponse())
        connection.close()
        self.cookies |= {name: morsel.value for name, morsel in answer.cookies.items()}
        return answer

    def good(self, method: str, path: str, *arguments: Any, **more: Any) -> Answer:
        answer = self.ask(method, path, *arguments, **more)
        assert answer.status in (200, 201, 207, 302, 303), (method, path, answer.status, answer.body[:1000])
        return answer

    @contextmanager
    def websocket(self, path: str) -> Iterator[WebSocket]:
        opened = socket.create_connection((self.address, 80), timeout=PATIENCE)
        with opened:
            yield WebSocket(opened, self.domain, path)


class WebSocket:
    def __init__(self, opened: socket.socket, domain: str, path: str) -> None:
        self.socket, self.buffer = opened, b""
        key = base64.b64encode(os.urandom(16)).decode()
        head = (
            f"GET {path} HTTP/1.1\r\nHost: {domain}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        )
        opened.sendall(head.encode())
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        answer, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        assert re.match(rb"HTTP/1.1 101 ", answer), answer

    def _more(self) -> None:
        part = self.socket.recv(1 << 16)
        assert part, "the server has closed the connection"
        self.buffer += part

    def _take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            self._more()
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def send(self, data: object) -> None:
        payload = json.dumps(data).encode()
        mask = os.urandom(4)
        size = len(payload)
        assert size < 1 << 16
        short = struct.pack("!BB", 0x80 | TEXT, 0x80 | size) if size < 126 else b""
        head = short or struct.pack("!BBH", 0x80 | TEXT, 0x80 | 126, size)
        self.socket.sendall(head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)))

    def receive(self) -> Any:
        """The data of the next message; pings and the like are passed over."""
        while True:
            first, second = self._take(2)
            size = second & 0x7F
            if size > 125:
                size = struct.unpack("!H" if size == 126 else "!Q", self._take(2 if size == 126 else 8))[0]
            payload = self._take(size)
            assert first & 0xF != CLOSE, payload
            if first & 0xF == TEXT:
                return json.loads(payload)
