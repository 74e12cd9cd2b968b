"""The smallest app there is: a hundred of it fit on a small host."""

import os


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ["APP_NAME"].encode()]
