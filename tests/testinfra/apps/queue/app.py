"""An app that gives its worker work by a queue, and tries whatever command of Redis it is asked to."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

import redis
from tasks import shout


def tried(url: str, words: list[str]) -> str:
    """What becomes of a command of Redis."""
    try:
        with redis.Redis.from_url(
            url or os.environ["REDIS_URL"], socket_timeout=5, decode_responses=True
        ) as client:
            return f"answered {client.execute_command(*words)!r}"
    except (redis.RedisError, OSError) as error:
        return f"refused: {error}"


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    query = parse_qs(environ["QUERY_STRING"])
    said = "ready"
    if environ["PATH_INFO"] == "/shout":
        said = shout.delay(query["text"][0]).get(timeout=20)
    elif environ["PATH_INFO"] == "/try":
        said = tried(query.get("url", [""])[0], json.loads(query["words"][0]))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [said.encode()]
