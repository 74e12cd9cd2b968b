"""A WSGI app with workers and a scheduled command beside it."""

import hashlib
import json
import os
from pathlib import Path

from seen import around

VERSION = Path(__file__).with_name("version.txt").read_text().strip()


def application(environ, start_response):
    path = environ["PATH_INFO"]
    status, kind, body = "200 OK", "text/plain", VERSION.encode()
    if path == "/echo":
        received = environ["wsgi.input"].read()
        kind = "application/json"
        body = json.dumps({"length": len(received), "sha256": hashlib.sha256(received).hexdigest()}).encode()
    elif path == "/environment":
        kind = "application/json"
        body = around().encode()
    elif path == "/parts":
        # Without a length: how the answer ends is the server's affair.
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (f"part {number}\n".encode() for number in range(1000))
    elif path.startswith("/seen/"):
        kind = "application/json"
        seen = {name: environ.get(name) for name in ("PATH_INFO", "REMOTE_ADDR", "SERVER_SOFTWARE")}
        body = json.dumps({**seen, "token": len(os.environ["TOKEN"])}).encode()
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]
