"""Ask a running activation directly on its socket, as nginx does: in the uwsgi protocol, an ASGI app in HTTP.

The uwsgi protocol has a packet of a 4-byte header (modifier1, little-endian size of the block, modifier2) and a block of CGI
variables, each a 2-byte little-endian length and bytes, as the uWSGI documentation's page "The uwsgi Protocol" defines it.
The answer is the HTTP response itself, up to the end of the connection.
"""

from __future__ import annotations

import http.client
import io
import socket
import struct
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass

from .sockets import NoAnswer, read_all, reason

RELEASE_HEADER = "X-Release"

#: Bytes of an answer that are read. Status and headers are judged by then, and nobody needs the rest.
ANSWER_BYTES = 1 << 20


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def release(self) -> str | None:
        """The release that answered, as it says itself."""
        return self.headers.get(RELEASE_HEADER.lower())


def packet(variables: Mapping[str, str]) -> bytes:
    """The request packet for *variables*. Raises ValueError when they do not fit into one packet."""
    parts = [part.encode() for pair in variables.items() for part in pair]
    size = sum(2 + len(part) for part in parts)
    if size > 0xFFFF:
        raise ValueError(f"the variables take {size} bytes; a uwsgi packet holds 65535")
    block = b"".join(struct.pack("<H", len(part)) + part for part in parts)
    return struct.pack("<BHB", 0, len(block), 0) + block


def get_variables(path: str, host: str, scheme: str = "http", prefix: str = "") -> dict[str, str]:
    """The variables of a GET as nginx would send them: the path decoded, the query as it is.

    *prefix* is what stands before *path* in the URL, for an app that answers below a path of its own.
    """
    bare, _, query = path.partition("?")
    return {
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": f"{prefix}{path}",
        "PATH_INFO": urllib.parse.unquote(bare),
        "QUERY_STRING": query,
        "SCRIPT_NAME": prefix,
        **({"HTTP_X_FORWARDED_PREFIX": prefix} if prefix else {}),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": host,
        "SERVER_PORT": "443" if scheme == "https" else "80",
        "REQUEST_SCHEME": scheme,
        **({"HTTPS": "on"} if scheme == "https" else {}),
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": host,
        "HTTP_USER_AGENT": "emperor-stack-probe",
    }


def http_request(path: str, host: str, scheme: str = "http", prefix: str = "") -> bytes:
    """The same GET for an app that nginx speaks HTTP with, with the headers of nginx's proxy.conf."""
    headers = {
        "Host": host,
        "Connection": "close",
        "User-Agent": "emperor-stack-probe",
        "X-Real-IP": "127.0.0.1",
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Proto": scheme,
        "X-Forwarded-Host": host,
        **({"X-Forwarded-Prefix": prefix} if prefix else {}),
    }
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


def parse_answer(raw: bytes, whole: bool = True) -> Answer:
    """Read an HTTP response, of which *raw* is all or, unless it is *whole*, the beginning. Raises NoAnswer."""

    class _Socket:
        def makefile(self, *_: object) -> io.BytesIO:
            return io.BytesIO(raw)

    response = http.client.HTTPResponse(_Socket())  # type: ignore[arg-type]
    try:
        response.begin()
        body = response.read() if whole else response.fp.read(_SHOWN)
    # OverflowError: a length of thirty digits.
    except (http.client.HTTPException, OSError, ValueError, OverflowError) as error:
        shown = repr(raw[:80]) if raw else "nothing"
        raise NoAnswer(f"no HTTP response, but {shown} ({reason(error)})") from error
    return Answer(response.status, _headers(response), body)


#: Bytes of a body that was not read to its end.
_SHOWN = 4096


def _headers(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


def ask(path: str, request: Mapping[str, str] | bytes, timeout: float) -> Answer:
    """Send one *request* to the socket at *path* and read the answer, all within *timeout* seconds. Raises NoAnswer.

    The request is the variables of the uwsgi protocol, or the text of HTTP.
    Of an answer that does not end within `ANSWER_BYTES` bytes the beginning counts.
    """
    deadline = time.monotonic() + timeout
    sent = request if isinstance(request, bytes) else packet(request)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(path)
            connection.sendall(sent)
            raw, whole = read_all(connection, deadline, ANSWER_BYTES)
    except OSError as error:
        raise NoAnswer(f"{path}: {reason(error)}") from error
    return parse_answer(raw, whole)


def ask_http(host: str, path: str, timeout: float, port: int = 80, scheme: str = "http") -> Answer:
    """The same question through nginx on this host. Raises NoAnswer.

    Also for a site of HTTPS on the port of HTTP, where nginx answers this header from this host as it would there: a
    certificate is no part of a release. What nginx refuses visitors (maintenance, a password, a network, a rate) says
    nothing of a release either: it lets a HEAD of the health path from this host through, without the body, which is
    nobody else's business here, and asks the app by GET.
    """
    answer = _ask_http("GET", host, path, timeout, port, scheme)
    if answer.release is None and answer.status in REFUSALS:
        return _ask_http("HEAD", host, path, timeout, port, scheme)
    return answer


#: How nginx refuses visitors by itself.
REFUSALS = (401, 403, 429, 503)


def _ask_http(method: str, host: str, path: str, timeout: float, port: int, scheme: str) -> Answer:
    deadline = time.monotonic() + timeout
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        headers = {"Host": host, "User-Agent": "emperor-stack-probe", "X-Emperor-Stack-Probe": scheme}
        connection.request(method, path, headers=headers)
        # nginx sends nothing before it has all headers of the app's.
        response = connection.getresponse()
        body = b""
        while (room := ANSWER_BYTES - len(body)) and (part := response.read1(min(room, 65536))):
            body += part
            if time.monotonic() > deadline:
                raise TimeoutError("timed out")
        if response.length and len(body) < ANSWER_BYTES:
            raise http.client.IncompleteRead(body, response.length)
        return Answer(response.status, _headers(response), body)
    except (http.client.HTTPException, OSError, ValueError, OverflowError) as error:
        raise NoAnswer(f"nginx on port {port}: {reason(error)}") from error
    finally:
        connection.close()
