"""What gunicorn's ASGI worker leaves to others, around the app. Written by Emperor Stack; part of the release.

The worker knows of a client only what nginx says, waits for ever for an answer, and cuts what is open when it stops. Here a
request gets its time limit, and connections without an end of their own, WebSockets and streams, are ended in order: when
nothing passed for too long, when the worker stops, and some time after another activation went live. A WebSocket is closed
with a code while its app waits for a message, a stream ends between two parts of its answer, and clients come back.
"""

import asyncio
import os
import re
from urllib.parse import unquote_to_bytes

#: Of RFC 6455 and its registry: the server restarts, and comes back; it gives up an idle connection.
RESTART, GOING_AWAY = 1012, 1001

#: Seconds between two looks at what is open, and seconds that an app gets to come to an end.
LOOK, GRACE = 0.5, 5.0

#: Answers that are made bit by bit: nginx must hand each part on at once.
EVENTS = (b"text/event-stream", b"application/x-ndjson", b"application/jsonl", b"application/json-seq")

#: The URI as the client sent it; see nginx's proxy.conf.
SENT = b"x-emperor-stack-uri"

DISCONNECT = {"type": "http.disconnect"}


class Ended(OSError):
    """Raised in an app that sends on a connection that was ended. ASGI wants an OSError."""


def with_all_slashes(scope, uri, prefix):
    """The path and the raw path of the visitor's request, without *prefix*: nginx has made one slash of several.

    In all else the path stays as nginx has judged it by its rules: one with dots stays as it came from there.
    """
    path, judged = scope["path"], scope.get("raw_path") or scope["path"].encode()
    if b"//" in uri or b"%" in uri:
        sent = uri.partition(b"?")[0].removeprefix(prefix)
        if re.sub(b"/+", b"/", unquote_to_bytes(sent)) == unquote_to_bytes(judged):
            return unquote_to_bytes(sent).decode("utf-8", "replace"), sent
    return path, judged


class Site:
    """An *app* as one worker process serves it."""

    def __init__(self, app, release, limits, active):
        self.app = app
        self.release = release.encode("latin-1")
        self.request_timeout = limits["request_timeout"]
        self.drain = limits["drain"]
        self.idle = limits["idle"]
        self.active = active
        #: gunicorn's worker, and the name of the activation that its socket belongs to.
        self.worker = None
        self.activation = ""
        self.connections = set()
        self.was_live = False
        self._watcher = None
        self._ends = None

    def begin(self, worker):
        """Belong to *worker*, which gunicorn has just forked."""
        self.worker = worker
        path = worker.sockets[0].getsockname() if worker.sockets else ""
        self.activation = os.path.basename(path).removesuffix(".sock") if isinstance(path, str) else ""

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        kind = Socket if scope["type"] == "websocket" else Request
        await kind(self, self.as_visited(scope), receive, send).run()

    def as_visited(self, scope):
        """*scope* as the visitor's request was: nginx says whose it was, by which scheme, host and path."""
        # nginx sets these headers itself: a client's own do not get so far.
        said = dict(scope["headers"])
        secure = said.get(b"x-forwarded-proto") == b"https"
        scheme = "ws" if scope["type"] == "websocket" else "http"
        host, _, port = said.get(b"x-forwarded-host", b"").decode("latin-1").rpartition(":")
        if not host or not port.isdigit():
            host, port = f"{host}:{port}".strip(":"), "443" if secure else "80"
        prefix = said.get(b"x-forwarded-prefix", b"")
        text = prefix.decode("latin-1")
        path, raw_path = with_all_slashes(scope, said.get(SENT, b""), prefix)
        return {
            **scope,
            "scheme": scheme + "s" * secure,
            "client": (said.get(b"x-real-ip", b"").decode("latin-1"), 0),
            "server": (host, int(port)),
            "root_path": text,
            "path": text + path,
            "raw_path": prefix + raw_path,
            "headers": [header for header in scope["headers"] if header[0] != SENT],
        }

    def with_release(self, headers, *more):
        return [*headers, (b"x-release", self.release), *more]

    # What is open

    def add(self, connection):
        self.connections.add(connection)
        self.ends(asyncio.get_running_loop().time())
        if self._watcher is None:
            self._watcher = asyncio.ensure_future(self._watch())

    async def _watch(self):
        loop = asyncio.get_running_loop()
        try:
            while self.connections:
                now = loop.time()
                ends = self.ends(now)
                for connection in list(self.connections):
                    connection.look(now, ends)
                await asyncio.sleep(LOOK)
        finally:
            self._watcher = None

    def ends(self, now):
        """When what is open has to end; None while this activation is the live one."""
        if not self.worker.alive:
            return now
        if self.is_live():
            self.was_live, self._ends = True, None
        elif self.was_live and self._ends is None:
            self._ends = now + self.drain
        return self._ends

    def is_live(self):
        try:
            return os.path.basename(os.readlink(self.active)) == self.activation
        except OSError:
            return False


class Connection:
    """What requests and WebSockets have in common: an end that comes from here."""

    def __init__(self, site, scope, receive, send):
        self.site = site
        self.scope = scope
        self._receive = receive
        self._send = send
        self.task = asyncio.current_task()
        self.ending = asyncio.Event()
        self.touched = self.since = 0.0
        self._pending = None
        self._later = set()

    def now(self):
        return asyncio.get_running_loop().time()

    def limit(self, late):
        """Have *late* called when the app has not begun to answer within the time limit. Returns the timer."""
        return asyncio.get_running_loop().call_later(self.site.request_timeout, late)

    def apart(self, doing):
        """Do it in a task of its own."""
        task = asyncio.ensure_future(doing)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def message(self):
        """The next message from the client; None when the connection is being ended."""
        if self._pending is None:
            self._pending = asyncio.ensure_future(self._receive())
        end = asyncio.ensure_future(self.ending.wait())
        try:
            await asyncio.wait({self._pending, end}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            end.cancel()
        if not self._pending.done():
            return None
        pending, self._pending = self._pending, None
        self.touched = self.now()
        return pending.result()

    def look(self, now, ends):
        """End this connection if its time has come."""
        if self.ending.is_set():
            if now - self.since > GRACE:
                self.since = now
                self.insist()
        elif ends is not None and now >= ends:
            self.end(now, RESTART)
        elif now - self.touched > self.site.idle:
            self.end(now, GOING_AWAY)

    def end(self, now, code):
        self.code, self.since = code, now
        self.ending.set()

    def insist(self):
        """End it although the app does not come to an end."""
        raise NotImplementedError

    def leave(self):
        self.site.connections.discard(self)

    def finish(self):
        self.leave()
        if self._pending is not None:
            self._pending.cancel()


class Request(Connection):
    """A request: its time limit, and an answer without a length, which may have no end of its own."""

    def __init__(self, *whole):
        super().__init__(*whole)
        self.started = self.complete = self.asked = self.late = False

    async def run(self):
        timer = self.limit(lambda: self.apart(self.give_up()))
        try:
            await self.site.app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            if not self.late and not self.ending.is_set():
                raise
            # Of Python 3.11 on: the cancellation was meant for the app, and ends here.
            getattr(self.task, "uncancel", int)()
        except Exception:
            # An app that is told that its visitor has gone may say so in its own way.
            if not self.late and not self.ending.is_set():
                raise
        finally:
            timer.cancel()
            self.finish()
        if self.ending.is_set() and not self.complete:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def receive(self):
        if self.late:
            return DISCONNECT
        if not self.asked:
            message = await self._receive()
            self.asked = message["type"] == "http.disconnect" or not message.get("more_body", False)
            return message
        # The body has come: all that can follow is that the client goes.
        return await self.message() or DISCONNECT

    async def send(self, message):
        if self.late or self.ending.is_set():
            raise Ended("the server has ended this answer")
        if message["type"] == "http.response.start":
            message = {**message, "headers": self._headers(message.get("headers", ()))}
        self.started = True
        self.touched = self.now()
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.complete = True
            self.leave()

    def _headers(self, headers):
        headers = [(bytes(name).lower(), bytes(value)) for name, value in headers]
        said = dict(headers)
        if b"content-length" not in said:
            self.site.add(self)
        kind = said.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind in EVENTS and b"x-accel-buffering" not in said:
            return self.site.with_release(headers, (b"x-accel-buffering", b"no"))
        return self.site.with_release(headers)

    async def give_up(self):
        """Answer in the app's place, and end its work. A thread that it waits for goes on."""
        if self.started:
            return
        self.started = self.complete = self.late = True
        site, path = self.site, self.scope["path"]
        site.worker.log.error("%r: no answer within %s s", path, site.request_timeout)
        text = b"The app did not answer in time.\n"
        headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(text)).encode())]
        start = {"type": "http.response.start", "status": 504, "headers": site.with_release(headers)}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": text, "more_body": False})
        self.task.cancel()

    def insist(self):
        self.task.cancel()


class Socket(Connection):
    """A WebSocket: closed with a code, never cut."""

    def __init__(self, *whole):
        super().__init__(*whole)
        self.accepted = self.closed = False
        # No deploy opens one: who does is a visitor of what was live.
        self.site.was_live = True

    async def run(self):
        timer = self._timer = self.limit(self.task.cancel)
        try:
            await self.site.app(self.scope, self.receive, self.send)
        except Exception:
            if not self.ending.is_set():
                raise
        finally:
            timer.cancel()
            self.finish()
        await self.close()

    async def receive(self):
        if not self.closed:
            message = await self.message()
            if message is not None:
                self.closed = self.closed or message["type"] == "websocket.disconnect"
                return message
            # The app waits for the next message: it has done with all before.
            await self.close()
        return {"type": "websocket.disconnect", "code": getattr(self, "code", 1000)}

    async def send(self, message):
        if self.closed:
            raise Ended("this WebSocket is closed")
        self._timer.cancel()
        if message["type"] == "websocket.accept":
            message = {**message, "headers": self.site.with_release(message.get("headers") or ())}
            self.accepted = True
        elif message["type"] == "websocket.http.response.start":
            message = {**message, "headers": self.site.with_release(message.get("headers") or ())}
        elif message["type"] == "websocket.close":
            self.closed = True
        self.touched = self.now()
        await self._send(message)
        if message["type"] == "websocket.accept":
            self.site.add(self)
        elif self.ending.is_set():
            # An app that only sends.
            await self.close()

    async def close(self):
        if self.accepted and not self.closed:
            self.closed = True
            code = getattr(self, "code", 1000)
            await self._send({"type": "websocket.close", "code": code, "reason": ""})

    def insist(self):
        self.apart(self.close())


def worker_class():
    """gunicorn's ASGI worker, with the queue that its socket is to have."""
    from gunicorn.workers.gasgi import ASGIWorker

    class Worker(ASGIWorker):
        _queue_is_set = False

        def notify(self):
            if self.servers and not self._queue_is_set:
                # asyncio has made it a queue of 100.
                self._queue_is_set = True
                for one in self.sockets:
                    one.sock.listen(self.cfg.backlog)
            super().notify()

        async def _shutdown(self):
            # The master would take a worker that waits for its last requests for one that hangs.
            beat = asyncio.ensure_future(self._beat())
            try:
                await super()._shutdown()
            finally:
                beat.cancel()

        async def _beat(self):
            while True:
                self.notify()
                await asyncio.sleep(1)

    return Worker
