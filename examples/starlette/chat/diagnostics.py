"""What the server hands to the app, as JSON. Routed only with EXAMPLE_DIAGNOSTICS=1: it shows cookies."""

import asyncio
import hashlib
import os
import platform
import sys
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route


async def echo(request: Request) -> Response:
    digest, length = hashlib.sha256(), 0
    async for piece in request.stream():
        digest.update(piece)
        length += len(piece)
    return JSONResponse({"length": length, "sha256": digest.hexdigest()})


async def headers(request: Request) -> Response:
    return JSONResponse(dict(request.headers))


async def scope(request: Request) -> Response:
    names = ("type", "scheme", "http_version", "client", "server", "root_path", "path")
    found: dict[str, Any] = {name: request.scope.get(name) for name in names}
    return JSONResponse({**found, "raw_path": request.scope["raw_path"].decode("latin-1")})


async def identity(request: Request) -> Response:
    return JSONResponse(
        {
            "uid": os.getuid(),
            "gid": os.getgid(),
            "groups": os.getgroups(),
            "pid": os.getpid(),
            "cwd": os.getcwd(),
            "python": platform.python_version(),
            "prefix": sys.prefix,
            "release": os.environ.get("APP_RELEASE"),
        }
    )


async def slow(request: Request) -> Response:
    seconds = min(float(request.query_params.get("seconds", 3)), 120.0)
    await asyncio.sleep(seconds)
    return PlainTextResponse(f"slept {seconds:g} s")


ROUTES = [
    Route("/diagnostics/echo", echo, methods=["POST"]),
    Route("/diagnostics/headers", headers),
    Route("/diagnostics/scope", scope),
    Route("/diagnostics/identity", identity),
    Route("/diagnostics/slow", slow),
]
