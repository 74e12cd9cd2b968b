"""What an emperor's statistics socket says, and what nobody can read."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.uwsgi import sockets
from ansible_collections.emperor.stack.plugins.module_utils.uwsgi.sockets import NoAnswer

Serve = Callable[[Callable[[socket.socket], None]], str]


def test_stats_are_read(serve: Serve) -> None:
    path = serve(lambda connection: connection.sendall(json.dumps({"pid": 1, "workers": []}).encode()))
    assert sockets.stats(path) == {"pid": 1, "workers": []}


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b"3"])
def test_stats_that_are_none(serve: Serve, raw: bytes) -> None:
    with pytest.raises(NoAnswer):
        sockets.stats(serve(lambda connection: connection.sendall(raw)))


def test_stats_without_an_end_are_none(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "STATS_BYTES", 200_000)

    def talk(connection: socket.socket) -> None:
        while True:
            connection.sendall(b" " * 65536)

    with pytest.raises(NoAnswer, match="more than 200000 bytes"):
        sockets.stats(serve(talk))


def test_deep_stats_are_none(serve: Serve) -> None:
    with pytest.raises(NoAnswer):
        sockets.stats(serve(lambda connection: connection.sendall(b"[" * 100_000)))
