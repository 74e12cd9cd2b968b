"""A connection to Redis or Valkey: the little of its protocol that the role needs."""

from __future__ import annotations

import socket
from typing import IO, Any

#: Bytes of one answer.
LARGEST = 8 * 1024 * 1024


class RedisError(Exception):
    """The server refused a command, or said something that is no answer."""


class Connection:
    def __init__(self, path: str, timeout: float = 10) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        self._socket.connect(path)
        self._answers: IO[bytes] = self._socket.makefile("rb")

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()
        self._socket.close()

    def say(self, *words: str) -> Any:
        """The answer to a command. Raises RedisError and OSError."""
        encoded = [word.encode() for word in words]
        parts = [b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded]
        self._socket.sendall(b"*%d\r\n" % len(parts) + b"".join(parts))
        return self._answer()

    def _answer(self) -> Any:
        line = self._answers.readline(LARGEST)
        kind, rest = line[:1], line[1:].strip().decode(errors="replace")
        if kind == b"+":
            return rest
        if kind == b"-":
            raise RedisError(rest)
        if kind not in (b":", b"$", b"*") or not rest.lstrip("-").isdigit():
            raise RedisError(f"no answer of Redis: {rest[:100]!r}")
        number = int(rest)
        if kind == b":":
            return number
        if number > LARGEST:
            raise RedisError(f"an answer of Redis is too long: {number}")
        if kind == b"$":
            return None if number < 0 else self._answers.read(number + 2)[:-2].decode(errors="replace")
        return [self._answer() for _ in range(number)]
