"""A WSGI app that writes down every request that reaches it, and does what an attack needs of its victim.

It believes whatever it is asked for. This line must never reach a visitor: SOURCE-OF-THE-APP
"""

import hashlib
import json
import os
from pathlib import Path
from urllib.parse import parse_qsl

LOG = Path(__file__).resolve().parent / "data" / "requests.jsonl"
# The secret stands in each answer: a visitor of one app who sees that of another has reached the wrong one.
MARK = f"{os.environ['APP_NAME']} {os.environ['MARK']}".encode()


def note(environ, body):
    entry = {name: value for name, value in environ.items() if isinstance(value, str)}
    entry |= {"body.length": len(body), "body.sha256": hashlib.sha256(body).hexdigest()}
    line = json.dumps(entry) + "\n"
    descriptor = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, line.encode())  # one call, so that lines of two processes never mix
    os.close(descriptor)


def application(environ, start_response):
    path, query = environ["PATH_INFO"], dict(parse_qsl(environ["QUERY_STRING"]))
    headers = [("Content-Type", "text/plain")]
    if path == "/seen":
        lines = LOG.read_text().splitlines() if LOG.exists() else []
        start_response("200 OK", headers)
        return [
            json.dumps([len(lines), [json.loads(line) for line in lines[int(query["after"]) :]]]).encode()
        ]
    if path == "/quiet":
        start_response("200 OK", headers)
        return [MARK]
    # An app that answers before it has read the body is what smuggling hopes for.
    note(environ, b"" if path == "/unread" else environ["wsgi.input"].read())
    if path == "/accel":
        headers.append(("X-Accel-Redirect", query["to"]))
    if path == "/sendfile":
        headers.append(("X-Sendfile", query["to"]))
    start_response("200 OK", headers)
    return [b"x" * int(query["bytes"])] if path == "/large" else [MARK]
