"""Clients that are slow on purpose, hundreds of them at a time. Bounded: they end by themselves."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

CONNECTIONS = 500

LORIS = b"GET /slow HTTP/1.1\r\nHost: victim.localhost\r\nX-Slow: "
BODY = b"POST /slow HTTP/1.1\r\nHost: victim.localhost\r\nContent-Length: 1000000\r\n\r\n"
READ = b"GET /large?bytes=400000 HTTP/1.1\r\nHost: victim.localhost\r\nConnection: close\r\n\r\n"


@contextlib.contextmanager
def held(address: str, port: int, first: bytes, count: int = CONNECTIONS) -> Iterator[list[socket.socket]]:
    """*count* connections that have said *first*, and whose window for an answer is as small as can be."""
    clients: list[socket.socket] = []
    try:
        for _ in range(count):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            client.settimeout(5)
            clients.append(client)
            with contextlib.suppress(OSError):
                client.connect((address, port))
                client.sendall(first)
        yield clients
    finally:
        for client in clients:
            client.close()


def drip(clients: list[socket.socket], seconds: float, byte: bytes) -> None:
    """A byte from each, once a second; from those that only read slowly, none."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for client in clients:
            with contextlib.suppress(OSError):
                if byte:
                    client.send(byte)
        time.sleep(1)


def open_ones(clients: list[socket.socket]) -> int:
    """How many of them the server has not closed."""
    found = 0
    for client in clients:
        client.setblocking(False)
        try:
            found += client.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            found += 1
        except OSError:
            pass
    return found
