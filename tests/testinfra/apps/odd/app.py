"""A WSGI app that says what it sees of a request, and raises exceptions where a path asks for one."""

import json
import os
import tempfile


def parts():
    raise LookupError("raised by the first part")
    yield b""


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/raise":
        raise LookupError("raised at once")
    if path == "/upload":
        # As many apps do: written elsewhere, and moved when it is whole.
        descriptor, name = tempfile.mkstemp()
        os.write(descriptor, b"uploaded")
        os.close(descriptor)
        os.replace(name, os.path.join(os.path.dirname(os.path.abspath(__file__)), "media", "moved.txt"))
    start_response("200 OK", [("Content-Type", "application/json")])
    if path == "/raise/late":
        raise LookupError("raised after the head")
    if path == "/raise/parts":
        return parts()
    names = [name for name in environ if name.startswith("HTTP_")]
    seen = {name: environ.get(name) for name in ("PATH_INFO", "SCRIPT_NAME", "REQUEST_URI")}
    sizes = [len(environ["REQUEST_URI"]), len(environ.get("HTTP_COOKIE", ""))]
    return [json.dumps({**seen, "headers": len(names), "sizes": sizes}).encode()]
