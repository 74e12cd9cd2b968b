"""What the server hands to the app, as JSON. Included only with EXAMPLE_DIAGNOSTICS=1: it shows cookies."""

import hashlib
import os
import platform
import sys
import time
from typing import Any

from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.response import Response


def echo(request: Request) -> dict[str, Any]:
    digest, length = hashlib.sha256(), 0
    while piece := request.body_file.read(65536):
        digest.update(piece)
        length += len(piece)
    return {
        "length": length,
        "sha256": digest.hexdigest(),
        "content_length": request.headers.get("Content-Length"),
        "transfer_encoding": request.headers.get("Transfer-Encoding"),
    }


def headers(request: Request) -> dict[str, str]:
    return dict(request.headers)


def print_line(request: Request) -> Response:
    line = f"Grüße aus Zürich — ✓ {request.GET.get('token', '')}"
    print("stdout:", line, flush=True)
    print("stderr:", line, file=sys.stderr, flush=True)
    return Response(line, content_type="text/plain", charset="utf-8")


def identity(request: Request) -> dict[str, Any]:
    return {
        "uid": os.getuid(),
        "gid": os.getgid(),
        "groups": os.getgroups(),
        "pid": os.getpid(),
        "cwd": os.getcwd(),
        "python": platform.python_version(),
        "prefix": sys.prefix,
        "release": os.environ.get("APP_RELEASE"),
    }


def slow(request: Request) -> Response:
    seconds = min(float(request.GET.get("seconds", "3")), 120.0)
    time.sleep(seconds)
    return Response(f"slept {seconds:g} s", content_type="text/plain")


def includeme(config: Configurator) -> None:
    for view, name, renderer in (
        (echo, "echo", "json"),
        (headers, "headers", "json"),
        (print_line, "print", None),
        (identity, "identity", "json"),
        (slow, "slow", None),
    ):
        config.add_route(f"diagnostics.{name}", f"/{name}")
        config.add_view(view, route_name=f"diagnostics.{name}", renderer=renderer, require_csrf=False)
