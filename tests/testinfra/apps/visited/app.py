"""A WSGI app that tells what reached it, counts its visitors, and answers as the query asks."""

import hashlib
import itertools
import json
import os
import signal
import time
from urllib.parse import parse_qsl

HITS = itertools.count(1)
TOLD = (
    "SCRIPT_NAME",
    "PATH_INFO",
    "REQUEST_METHOD",
    "REMOTE_USER",
    "REMOTE_ADDR",
    "HTTP_AUTHORIZATION",
    "QUERY_STRING",
)
with open(os.path.join(os.path.dirname(__file__), "version.txt"), encoding="utf-8") as _file:
    VERSION = _file.read().strip()


def cut(environ, start_response):
    """An answer in two halves. Between them the process ends, the first time that somebody asks so."""
    marker = os.path.join(os.environ["TMPDIR"], hashlib.sha256(environ["QUERY_STRING"].encode()).hexdigest())
    half = b"x" * 100_000
    length = [("Content-Length", str(2 * len(half)))] if "measured=yes" in environ["QUERY_STRING"] else []
    start_response("200 Cut", [("Content-Type", "text/plain"), *length])
    yield half
    if not os.path.exists(marker):
        with open(marker, "w"):
            pass
        os.kill(os.getpid(), signal.SIGKILL)
    yield half


def early(environ, start_response):
    """Answers before it has read anything, without a length; with `?late` it reads what came all the same."""
    start_response("200 Early", [("Content-Type", "text/plain")])
    yield b"early\n"
    if environ["QUERY_STRING"] == "late":
        yield hashlib.sha256(environ["wsgi.input"].read()).hexdigest().encode()


OTHERS = {"/cut": cut, "/early": early}


def application(environ, start_response):
    if environ["PATH_INFO"] in OTHERS:
        return OTHERS[environ["PATH_INFO"]](environ, start_response)
    wanted = dict(parse_qsl(environ["QUERY_STRING"]))
    time.sleep(float(wanted.pop("sleep", 0)))
    status = wanted.pop("status", "200")
    measured = wanted.pop("measured", "yes") == "yes"
    headers = [("Content-Type", "application/json")]
    headers += [(name, value) for name, value in wanted.items() if name.istitle()]
    about = {name: environ.get(name) for name in TOLD}
    # A probe is no visitor.
    about["hit"] = 0 if environ["PATH_INFO"] == "/healthz" else next(HITS)
    about["version"] = VERSION
    about["user"] = environ.get("REMOTE_USER")
    about["app"] = os.environ["APP_NAME"]
    about["padding"] = "x" * 2000
    body = json.dumps(about).encode()
    headers += [("Content-Length", str(len(body)))] if measured else []
    start_response(f"{status} Told", headers)
    return [body]
