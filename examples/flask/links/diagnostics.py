"""What the server hands to the app, as JSON. Routed only with EXAMPLE_DIAGNOSTICS=1: it shows cookies."""

import hashlib
import os
import platform
import sys
import time
from typing import Any

from flask import Blueprint, Response, request

pages = Blueprint("diagnostics", __name__)


@pages.post("/echo")
def echo() -> dict[str, Any]:
    digest, length = hashlib.sha256(), 0
    while piece := request.stream.read(65536):
        digest.update(piece)
        length += len(piece)
    return {
        "length": length,
        "sha256": digest.hexdigest(),
        "content_length": request.headers.get("Content-Length"),
        "transfer_encoding": request.headers.get("Transfer-Encoding"),
    }


@pages.get("/headers")
def headers() -> dict[str, str]:
    return dict(request.headers)


@pages.get("/print")
def print_line() -> Response:
    line = f"Grüße aus Zürich — ✓ {request.args.get('token', '')}"
    print("stdout:", line, flush=True)
    print("stderr:", line, file=sys.stderr, flush=True)
    return Response(line, content_type="text/plain; charset=utf-8")


@pages.get("/identity")
def identity() -> dict[str, Any]:
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


@pages.get("/slow")
def slow() -> Response:
    seconds = min(request.args.get("seconds", 3.0, float), 120.0)
    time.sleep(seconds)
    return Response(f"slept {seconds:g} s", content_type="text/plain")
