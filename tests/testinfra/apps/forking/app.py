"""A WSGI app that opens a connection and starts a thread while it is imported, as a pool of a database does."""

import os
import socket
import threading
import time
import uuid

#: Of the server of queries (queries.py of scenario real_apps).
SERVER = ("127.0.0.1", 7777)


class Connection:
    """One at a time asks; whoever else has the same connection gets the answer now and then."""

    def __init__(self):
        self.socket = socket.create_connection(SERVER, timeout=1)
        self.lines = self.socket.makefile("rb")
        self.lock = threading.Lock()

    def query(self, text):
        with self.lock:
            self.socket.sendall(f"{text}\n".encode())
            return self.lines.readline().decode().strip()


def beat():
    while True:
        Beat.last = time.monotonic()
        time.sleep(0.2)


class Beat:
    last = 0.0


def is_command():
    """Whether this is a command of a deploy, such as its check."""
    with open("/proc/self/cgroup") as file:
        return "_command@" in file.read()


#: The connection of this process.
opened = {}


def begin():
    opened["connection"] = Connection()
    threading.Thread(target=beat, name="beat", daemon=True).start()


# With HIDES the check of the release does not see what the web processes get.
if not (os.environ.get("HIDES") and is_command()):
    begin()
# With AGAIN each process begins with its own.
if os.environ.get("AGAIN"):
    os.register_at_fork(after_in_child=begin)


def application(environ, start_response):
    status, body = "200 OK", str(os.getpid())
    if environ["PATH_INFO"] == "/query":
        asked = uuid.uuid4().hex
        try:
            body = opened["connection"].query(asked)
        except OSError as error:
            body = str(error)
        if body != asked:
            status = "500 Internal Server Error"
    if environ["PATH_INFO"] == "/beat" and time.monotonic() - Beat.last > 1.5:
        status = "500 Internal Server Error"
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body.encode()]
