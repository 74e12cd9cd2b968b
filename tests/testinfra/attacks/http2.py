"""As much of HTTP/2 as an attacker needs: frames and headers that no library would send."""

from __future__ import annotations

import contextlib
import ssl
import struct
from collections.abc import Iterable

from attacks.arena import Arena

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM = ACK = 1
END_HEADERS = 4
SETTINGS_FRAME = b"\0\0\0\4\0\0\0\0\0"

Header = tuple[str, str]
GOOD: tuple[Header, ...] = (
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "secured.localhost"),
    (":path", "/h2"),
)
#: Statuses that HPACK has in its static table.
_STATUSES = {0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500}


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def integer(value: int, bits: int, mark: int = 0) -> bytes:
    """HPACK's integer (RFC 7541, 5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([mark | value])
    out, value = [mark | most], value - most
    while value >= 128:
        out.append(value % 128 | 128)
        value //= 128
    return bytes([*out, value])


def literal(name: str, value: str, mark: int = 0) -> bytes:
    """A header as it is, without Huffman and without a check of anything. Mark 0x40 keeps it in the table."""
    texts = (name.encode("latin-1"), value.encode("latin-1"))
    return bytes([mark]) + b"".join(integer(len(text), 7) + text for text in texts)


def request(headers: Iterable[Header], body: bytes | None = None, stream: int = 1) -> bytes:
    block = b"".join(literal(*header) for header in headers)
    flags = END_HEADERS | (END_STREAM if body is None else 0)
    sent = frame(HEADERS, flags, stream, block)
    return sent + (frame(DATA, END_STREAM, stream, body) if body is not None else b"")


def changed(*more: Header, **pseudo: str) -> tuple[Header, ...]:
    """The good headers with others in their place, and more behind them."""
    return tuple((name, pseudo.get(name[1:], value)) for name, value in GOOD) + more


def translated(came: bytes) -> bytes:
    """The answers as HTTP/1 would show them: a status line for each, and the bodies."""
    out = b""
    while len(came) >= 9:
        size = int.from_bytes(came[:3], "big")
        kind, payload = came[3], came[9 : 9 + size]
        came = came[9 + size :]
        if kind == HEADERS:
            payload = payload.lstrip(b"\x20")
            status = _STATUSES.get(payload[0]) or int(payload[2:5])
            out += b"HTTP/2 %d \r\n\r\n" % status
        elif kind == DATA:
            out += payload + b"\r\n"
    return out


def exchange(arena: Arena, *frames: bytes) -> bytes:
    with contextlib.closing(arena.secure(alpn=["h2"])) as connection:
        assert connection.selected_alpn_protocol() == "h2"
        # A server that has had enough closes in the middle.
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            connection.sendall(PREFACE + SETTINGS_FRAME + b"".join(frames))
        return translated(arena.listen(connection))
