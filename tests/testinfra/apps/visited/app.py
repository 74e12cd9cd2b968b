"""A WSGI app that tells what reached it, counts its visitors, and answers as the query asks."""

import itertools
import json
import os
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


def application(environ, start_response):
    wanted = dict(parse_qsl(environ["QUERY_STRING"]))
    time.sleep(float(wanted.pop("sleep", 0)))
    status = wanted.pop("status", "200")
    headers = [("Content-Type", "application/json")]
    headers += [(name, value) for name, value in wanted.items() if name.istitle()]
    about = {name: environ.get(name) for name in TOLD}
    # A probe is no visitor.
    about["hit"] = 0 if environ["PATH_INFO"] == "/healthz" else next(HITS)
    about["version"] = VERSION
    about["user"] = environ.get("REMOTE_USER")
    about["app"] = os.environ["APP_NAME"]
    about["padding"] = "x" * 2000
    start_response(f"{status} Told", headers)
    return [json.dumps(about).encode()]
