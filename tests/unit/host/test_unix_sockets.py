"""Connections at a socket: as bytes of netlink, and as the kernel really counts them."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import unix_sockets
from ansible_collections.emperor.stack.plugins.module_utils.host.unix_sockets import Connections, count

LISTEN, OPEN = 10, 1
OURS, OTHER = (77, 5), (77, 6)
DONE = struct.pack("=IHHII", 20, 3, 0, 1, 0) + b"\0\0\0\0"


def attribute(kind: int, first: int, second: int) -> bytes:
    return struct.pack("=HHII", 12, kind, first, second)


def message(state: int, file: tuple[int, int] | None, queue: int = 0, more: bytes = b"") -> bytes:
    """One socket, as `struct unix_diag_msg` and its attributes."""
    content = struct.pack("=BBBBIII", 1, 1, state, 0, 4711, 1, 2) + more
    content += attribute(1, *file) if file else b""
    content += attribute(4, queue, 128)
    return struct.pack("=IHHII", 16 + len(content), 20, 2, 1, 0) + content


#: A name of three bytes: what comes after it begins at a multiple of four.
NAME = struct.pack("=HH", 7, 0) + b"x\ny" + b"\0"


@pytest.mark.parametrize(
    ("datagrams", "expected"),
    [
        ([DONE], None),
        ([message(LISTEN, OURS, 3) + DONE], Connections(3, 3)),
        ([message(LISTEN, OURS, 3), message(OPEN, OURS, 9) + message(OPEN, OURS), DONE], Connections(3, 5)),
        ([message(OPEN, OURS), DONE], None),
        ([message(LISTEN, OTHER, 3), message(OPEN, OTHER), DONE], None),
        ([message(LISTEN, OTHER, 3) + message(LISTEN, OURS) + message(OPEN, None)], Connections(0, 0)),
        ([message(LISTEN, OURS, 2, NAME)], Connections(2, 2)),
        ([b"", b"\1\0", struct.pack("=IHHII", 4, 20, 0, 0, 0), message(LISTEN, OURS)], Connections(0, 0)),
        ([message(LISTEN, OURS)[:-1]], Connections(0, 0)),
        ([struct.pack("=IHHII", 20, 20, 0, 1, 0) + b"\1\1\12\0"], None),
    ],
    ids=[
        "nobody",
        "a queue",
        "a queue and open ones",
        "open ones that nobody listens for",
        "another device",
        "several",
        "a name with a line's end",
        "rubbish",
        "cut",
        "too short",
    ],
)
def test_what_the_kernel_says(datagrams: Iterable[bytes], expected: Connections | None) -> None:
    assert count(iter(datagrams), OURS) == expected


def test_the_kernel_complains() -> None:
    with pytest.raises(OSError, match="sock_diag: "):
        unix_sockets._ends(struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -13))


def test_connections_of_a_real_socket(tmp_path: Path) -> None:
    path, other = str(tmp_path / "a.sock"), str(tmp_path / "b.sock")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as neighbour:
        server.bind(path)
        neighbour.bind(other)
        assert unix_sockets.connections(path) is None
        server.listen(5)
        neighbour.listen(5)
        clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for client in clients:
            client.connect(path)
        assert unix_sockets.connections(path) == Connections(3, 3)
        accepted, _ = server.accept()
        assert unix_sockets.connections(path) == Connections(2, 3)
        clients[0].close()
        # Until the server has closed it, it is at work for who has gone.
        assert unix_sockets.connections(path) == Connections(2, 3)
        accepted.close()
        assert unix_sockets.connections(path) == Connections(2, 2)
        assert unix_sockets.connections(other) == Connections(0, 0)
        for client in clients:
            client.close()
    assert unix_sockets.connections(path) is None


@pytest.mark.parametrize("kind", ["nothing", "file", "link"])
def test_what_is_no_socket_has_none(tmp_path: Path, kind: str) -> None:
    """A link is not followed: it could lead to the socket of another app."""
    path = tmp_path / "a"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        if kind == "file":
            path.write_text("")
        elif kind == "link":
            path.symlink_to(tmp_path / "s")
        assert unix_sockets.connections(str(path)) is None


def test_a_name_is_not_what_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two sockets with one name, each in a directory of its own, the file says which is meant."""
    found = []
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        server = socket.socket(socket.AF_UNIX)
        server.bind("blog@1.sock")
        server.listen()
        found.append(server)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "theirs/blog@1.sock"))
        assert unix_sockets.connections(str(tmp_path / "ours/blog@1.sock")) == Connections(0, 0)
        assert unix_sockets.connections(str(tmp_path / "theirs/blog@1.sock")) == Connections(1, 1)
    for server in found:
        server.close()


def test_a_list_that_does_not_end_is_given_up() -> None:
    with pytest.raises(TimeoutError, match="more sockets than it can list"):
        list(unix_sockets._dump(0))
    assert os.getpid()
