"""An ASGI app without a framework, and a WSGI app beside it. It has no requirements, and brings no server."""

import json
from importlib.metadata import version


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    if scope["path"].endswith("/own"):
        own = (b"x-accel-redirect", scope["root_path"].encode() + b"/protected/own.txt")
        await send({"type": "http.response.start", "status": 200, "headers": [own]})
        await send({"type": "http.response.body"})
        return
    told = {name: scope[name] for name in ("scheme", "client", "server", "root_path", "path")}
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    body = json.dumps({**told, "headers": headers, "gunicorn": version("gunicorn")}).encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}
    )
    await send({"type": "http.response.body", "body": body})


def synchronous(environ, start_response):
    start_response("200 OK", [])
    return [b"ok"]
