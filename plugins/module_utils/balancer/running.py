"""HAProxy on this machine, as its socket answers."""

from __future__ import annotations

import csv
import io
import re
import socket
from collections.abc import Mapping
from typing import Any

from . import naming

PATH = "/run/haproxy/emperor-stack.sock"

#: Seconds for one answer, and the most that is read of it.
PATIENCE = 10
LARGEST = 32 * 1024 * 1024

#: What `show stat` counts of a server. All since the last reload.
COUNTERS = (
    "scur",
    "stot",
    "hrsp_2xx",
    "hrsp_3xx",
    "hrsp_4xx",
    "hrsp_5xx",
    "econ",
    "eresp",
    "wretr",
    "wredis",
)


class NoAnswer(Exception):
    """HAProxy does not run, or does not answer."""


def ask(command: str, path: str = PATH) -> str:
    """The answer to one command. Raises NoAnswer."""
    parts: list[bytes] = []
    size = 0
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(path)
            connection.sendall(f"{command}\n".encode())
            while size < LARGEST and (part := connection.recv(65536)):
                parts.append(part)
                size += len(part)
    except OSError as error:
        raise NoAnswer(f"HAProxy does not answer at {path}: {error}") from error
    return b"".join(parts).decode(errors="replace")


def process(path: str = PATH) -> int:
    """The process that answers now. Another one began to count at 0."""
    found = re.search(r"^Pid: (\d+)$", ask("show info", path), re.MULTILINE)
    if not found:
        raise NoAnswer(f"HAProxy gives an unknown answer to `show info` at {path}")
    return int(found[1])


def servers(path: str = PATH) -> dict[str, dict[str, dict[str, Any]]]:
    """By app and host: the state of the server, and its counters."""
    return parse(ask("show stat", path))


def parse(text: str) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in csv.DictReader(io.StringIO(text.removeprefix("# "))):
        app = naming.app_of(row.get("pxname") or "")
        host = row.get("svname") or ""
        if app and host not in ("", "FRONTEND", "BACKEND"):
            found.setdefault(app, {})[host] = {"status": row.get("status") or "", **_counted(row)}
    return found


def up(server: Mapping[str, Any]) -> bool:
    """Whether new requests are sent to it. `UP 1/2`: the last check failed, and one more is to come."""
    return str(server["status"]).startswith("UP")


def _counted(row: Mapping[str, str]) -> dict[str, int]:
    return {name: int(row.get(name) or 0) for name in COUNTERS}
