"""A WSGI app as small as can be, for tests that need many different releases of something."""

import hashlib
import json
import os
import time
from pathlib import Path
from urllib.parse import parse_qs

import six

VERSION = Path(__file__).with_name("version.txt").read_text().strip()


def application(environ, start_response):
    path = environ["PATH_INFO"]
    status, kind, body = "200 OK", "text/plain", b"ok"
    if path == "/version":
        body = VERSION.encode()
    elif path == "/identity":
        kind = "application/json"
        body = json.dumps({"six": six.__version__, "release": os.environ["APP_RELEASE"]}).encode()
    elif path == "/slow":
        time.sleep(min(float(parse_qs(environ["QUERY_STRING"]).get("seconds", ["3"])[0]), 30))
    elif path == "/echo":
        received = environ["wsgi.input"].read()
        kind = "application/json"
        body = json.dumps({"length": len(received), "sha256": hashlib.sha256(received).hexdigest()}).encode()
    elif path not in ("/", "/healthz"):
        status, body = "404 Not Found", b"not here"
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]
