"""The way into a release's app. Written by Emperor Stack; part of the release.

uWSGI loads this file as the WSGI module, gunicorn by its configuration, which puts asgi.py around an ASGI app. `--check`, or
EMPEROR_STACK_CHECK in the environment where a server has the arguments, imports the app and refuses one that comes from
elsewhere, or is of another kind than its entry of python_apps says.
"""

import importlib
import io
import json
import os
import re
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
CODE = os.path.join(HERE, "code")

with open(os.path.join(HERE, "environment.json"), encoding="utf-8") as _file:
    _entry = json.load(_file)
if os.environ.get("APP_RELEASE") != _entry["environment"]["APP_RELEASE"]:
    # launch.py has begun this process, unless an emperor's `enter` of an earlier version has.
    os.environ.update(_entry["environment"])
if CODE not in sys.path:
    sys.path.insert(0, CODE)


#: What the entry of python_apps says it to be.
KEY = "asgi" if _entry.get("asgi") else "wsgi"


def load():
    """The application, by `module:callable` or from a PasteDeploy file."""
    if _entry["paste"]:
        from paste.deploy import loadapp

        path, _, name = _entry["paste"].partition("#")
        return loadapp("config:" + os.path.join(CODE, path), name=name or "main")
    module, _, attributes = _entry[KEY].partition(":")
    found = importlib.import_module(module)
    for attribute in (attributes or "application").split("."):
        found = getattr(found, attribute)
    return found


def kind_of(app):
    """How *app* is called: `asgi`, `wsgi`, or `factory` where it takes nothing. Nothing where it does not tell."""
    import inspect

    if any(inspect.iscoroutinefunction(one) for one in (app, getattr(app, "__call__", None))):  # noqa: B004
        return "asgi"
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return ""
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return ""
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [one for one in parameters if one.kind in by_place and one.default is one.empty]
    return {0: "factory", 2: "wsgi", 3: "asgi"}.get(len(needed), "")


def wrong_kind(app):
    """Why *app* cannot be served as the entry of python_apps has it, with the fix; nothing where it can."""
    name = _entry[KEY] or _entry["paste"]
    if not callable(app):
        return f"{name} is {app!r}, which cannot be called: no {KEY.upper()} application"
    kind = kind_of(app)
    if kind == "asgi" and _entry["paste"]:
        return f"{name} makes an ASGI application, and `paste` is for WSGI: name the application in `asgi`"
    if kind == "factory" and KEY == "asgi":
        return (
            f"{name} takes no arguments, so it makes an application instead of being one: call it in a module of the "
            "code (application = create_app()) and name the result in `asgi`"
        )
    if kind in ("asgi", "wsgi") and kind != KEY:
        called = {"asgi": "scope, receive and send", "wsgi": "environ and start_response"}[kind]
        return (
            f"{name} is a {kind.upper()} application: it is called with {called}. In the app's entry of python_apps "
            f"write `{kind}: {name}` in place of `{KEY}: {name}`"
        ).replace(" a ASGI", " an ASGI")
    return ""


def modules_of_other_releases():
    """Imported modules that come from another release of this app."""
    releases = os.path.dirname(HERE) + os.sep
    files = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
    paths = {name: os.path.realpath(path) for name, path in files.items() if path}
    return {n: p for n, p in paths.items() if p.startswith(releases) and not p.startswith(HERE + os.sep)}


class Body:
    """A request's body, of which all is read before the answer begins; what the app has not read by then is kept for it.

    Once an answer's head has come, nginx sends no more of the body: who reads on then waits for as long as his server lets
    him, 4 s under uWSGI and 65 s under gunicorn. What stays unread makes uWSGI close the socket on it, and nginx lose the
    answer. uWSGI's own remedy, post-buffering, kills innocent workers: each read adds to a deadline that another thread of
    the worker has just set to zero.
    """

    def __init__(self, body):
        self._body = body
        self._rest = None
        self._failure = None

    def _source(self):
        if self._failure is not None:
            raise self._failure
        return self._body if self._rest is None else self._rest

    def read(self, *size):
        return self._source().read(*size)

    def readline(self, *size):
        return self._source().readline(*size)

    def readlines(self, *hint):
        return self._source().readlines(*hint)

    def __iter__(self):
        return iter(self.readline, b"")

    def __getattr__(self, name):
        return getattr(self._body, name)

    def read_ahead(self):
        if self._rest is not None or self._failure is not None:
            return
        try:
            part = self._body.read(65536)
            rest = kept() if part else io.BytesIO()
            while part:
                rest.write(part)
                part = self._body.read(65536)
            rest.seek(0)
            self._rest = rest
        except OSError as error:
            # The client has gone, or there is no room for it: the app is told so if it wants it.
            self._failure = error
            drain(self._body)

    def close(self):
        if self._rest is not None:
            self._rest.close()
        elif self._failure is None:
            drain(self._body)


def kept():
    """A file that is in memory while it is small."""
    # Not for each app: most leave nothing of a body.
    import tempfile

    return tempfile.SpooledTemporaryFile(1 << 18)


class Answer:
    """An app's answer, of which no part goes out before the request's *body* is read."""

    def __init__(self, answer, body):
        self.answer = answer
        self.body = body

    def __iter__(self):
        for part in self.answer:
            self.body.read_ahead()
            yield part
        # Where no part came, the head goes out now.
        self.body.read_ahead()

    def close(self):
        try:
            if hasattr(self.answer, "close"):
                self.answer.close()
        finally:
            self.body.close()


def drain(body):
    try:
        while body.read(65536):
            pass
    except OSError:
        pass  # the client has gone


def draining(app):
    """*app*, whose requests with a body are read to their end before it answers."""

    def drained(environ, start_response):
        if environ.get("CONTENT_LENGTH") in (None, "", "0"):
            return app(environ, start_response)
        body = environ["wsgi.input"] = Body(environ["wsgi.input"])

        def start(*words):
            write = start_response(*words)

            def written(data):
                body.read_ahead()
                return write(data)

            return written

        try:
            return Answer(app(environ, start), body)
        except BaseException:
            body.close()
            raise

    return drained


class Parts:
    """An app's answer, of which some parts have been asked for already."""

    def __init__(self, answer, asked, rest):
        self.answer = answer
        self.asked = asked
        self.rest = rest

    def __iter__(self):
        yield from self.asked
        yield from self.rest

    def close(self):
        if hasattr(self.answer, "close"):
            self.answer.close()


FAILURE = b"Internal Server Error\n"


def answering(app):
    """*app*, whose exception before its answer begins is a 500: uWSGI would close the connection, and nginx answer 502.

    So the head goes to the server with the first part. A file and a list go there as they are: servers know them by type.
    """

    def answered(environ, start_response):
        head = write = None

        def begin():
            nonlocal write
            if write is None and head is not None:
                write = start_response(*head)

        def start(*words):
            nonlocal head, write
            if write is not None:
                # Either an error or a mistake, which the server tells apart.
                write = start_response(*words)
            elif head is not None and len(words) < 3:
                raise AssertionError("start_response was called twice, the second time without exc_info")
            else:
                head = words
            return written

        def written(data):
            begin()
            return write(data)

        answer = None
        try:
            answer = app(environ, start)
            if not (isinstance(answer, (list, tuple)) or is_file(answer, environ)):
                rest = iter(answer)
                answer = Parts(answer, [part for part in (next(rest, None),) if part is not None], rest)
        except Exception:
            if hasattr(answer, "close"):
                answer.close()
            if write is not None:
                raise
            report(environ)
            start_response(
                "500 Internal Server Error",
                [("Content-Type", "text/plain"), ("Content-Length", str(len(FAILURE)))],
            )
            return [FAILURE]
        begin()
        return answer

    return answered


def is_file(answer, environ):
    """Whether the server sends it by itself: what wsgi.file_wrapper makes is the file itself under uWSGI."""
    wrapper = environ.get("wsgi.file_wrapper")
    return hasattr(answer, "read") or (isinstance(wrapper, type) and isinstance(answer, wrapper))


def report(environ):
    """Log the exception that is being handled, as servers do."""
    import traceback

    request = f"{environ.get('REQUEST_METHOD')} {environ.get('PATH_INFO')!r}"
    print(
        f"exception before the answer to {request} began:\n{traceback.format_exc()}",
        file=sys.stderr,
        flush=True,
    )


def with_all_slashes(app):
    """*app*, which sees `//` in a path where the client sent it: web servers look for rules with one slash for several.

    In all else the path stays as the web server has judged it: one with dots, or with another prefix, stays as it came.
    """

    def seen(environ, start_response):
        uri = environ.get("REQUEST_URI", "")
        if "//" in uri or "%2" in uri:
            from urllib.parse import unquote_to_bytes

            path = unquote_to_bytes(uri.partition("?")[0].encode("latin-1")).decode("latin-1")
            path = path.removeprefix(environ.get("SCRIPT_NAME", ""))
            if re.sub("/+", "/", path) == environ.get("PATH_INFO"):
                environ["PATH_INFO"] = path
        return app(environ, start_response)

    return seen


def as_under_uwsgi(app):
    """*app* under another server that speaks the uwsgi protocol: what uWSGI does by itself is done here.

    gunicorn knows no client of a Unix socket, decodes the path a second time, and does not tell the URI.
    """
    release = ("X-Release", _entry["environment"]["APP_RELEASE"])

    def served(environ, start_response):
        def start(status, headers, *more):
            return start_response(status, [*headers, release], *more)

        if not environ.get("REMOTE_ADDR"):
            environ["REMOTE_ADDR"] = environ.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
        if "RAW_URI" in environ:
            query = environ.get("QUERY_STRING")
            path = environ["RAW_URI"]
            environ["PATH_INFO"] = path.removesuffix(f"?{query}") if query else path
        # nginx says it; a client's own header of this name does not get so far.
        environ["SCRIPT_NAME"] = environ.get("HTTP_X_FORWARDED_PREFIX", "")
        # By gunicorn.conf.py, from nginx.
        environ["REQUEST_URI"] = environ.pop("HTTP_X_EMPEROR_STACK_URI", "")
        return app(environ, start)

    return served


def of_release(name):
    """The module of that name that lies beside this file."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(f"emperor_stack_{name}", os.path.join(HERE, f"{name}.py"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def held_now():
    """What the process holds before the app is imported; what the import adds, import_check.py tells apart."""
    check = of_release("import_check")
    return check, check.Held()


_checked = os.environ.pop("EMPEROR_STACK_CHECK", "") or "--check" in sys.argv[1:]
# Where each process imports the app by itself, it may hold what it likes.
_check, _held = held_now() if _checked and _entry.get("preload", True) else (None, None)
application = load()

if _checked:
    if _wrong := wrong_kind(application):
        sys.exit(_wrong)
    for _name, _path in sorted(modules_of_other_releases().items()):
        sys.exit(
            f"module {_name} comes from another release: {_path}. Look for an absolute path in PYTHONPATH or a .pth file"
        )
    if _held and (_said := _check.message(_held.lost())):
        sys.exit(_said)

if KEY == "asgi":
    asgi = sys.modules.get("emperor_stack_asgi") or of_release("asgi")
    _active = os.path.join(os.path.dirname(os.path.dirname(HERE)), "active")
    site = asgi.Site(application, _entry["environment"]["APP_RELEASE"], _entry["limits"], _active)
else:
    application = draining(with_all_slashes(answering(application)))
if KEY == "wsgi" and __name__ == "emperor_stack_entry":  # as gunicorn.conf.py calls it
    application = as_under_uwsgi(application)
