"""Sockets of a uWSGI: who listens there, and an answer that is read with a limit of time and of size.

Apart from `client.py`, which needs Python's HTTP: a program that an emperor waits for uses this alone.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

#: The emperor says less than 1 KB of each vassal.
STATS_BYTES = 1 << 24


class NoAnswer(Exception):
    """Nothing listened, the connection broke, or what came was no answer of the expected kind."""


def stats(path: str, timeout: float = 2) -> dict[str, Any]:
    """What an emperor's statistics socket says, which is root's; for an app's see `uwsgi_stats`. Raises NoAnswer."""
    deadline = time.monotonic() + timeout
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(path)
            raw, whole = read_all(connection, deadline, STATS_BYTES)
            if not whole:
                raise NoAnswer(f"{path}: it sends more than {STATS_BYTES} bytes")
            return dict(json.loads(raw))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise NoAnswer(f"{path}: {reason(error)}") from error


def read_all(connection: socket.socket, deadline: float, limit: int) -> tuple[bytes, bool]:
    """What comes until the other side closes or sent *limit* bytes, and whether that is all.

    Raises TimeoutError at *deadline*, seconds of the monotonic clock. A timeout of the socket alone would begin anew with
    each byte that drips in.
    """
    parts, size = [], 0
    while part := connection.recv(65536):
        parts.append(part)
        size += len(part)
        if size > limit:
            return b"".join(parts), False
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        connection.settimeout(left)
    return b"".join(parts), True


def peer_uid(connection: socket.socket) -> int:
    """Whose process listens at the other end of a Unix socket: of struct ucred (unix(7)), the second of three numbers."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def reason(error: Exception) -> str:
    """What *error* says, or its kind when it says nothing."""
    return str(error) or type(error).__name__
