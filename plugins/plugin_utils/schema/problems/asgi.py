"""What means nothing to an app with `asgi`, and what only means something to one; a part of `problems`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..faults import Fault

#: Keys that say how a server deals with what only ASGI has.
_OF_ASGI = ("websocket_drain", "connection_idle")


def faults(app: Mapping[str, Any], where: str) -> Iterator[Fault]:
    limits, web = app.get("limits"), app.get("web")
    if app.get("asgi") is None:
        for name in _OF_ASGI:
            if isinstance(limits, Mapping) and limits.get(name) is not None:
                reason = (
                    f"`{name}` applies to apps with `asgi`: a WSGI app has no WebSockets and no open streams"
                )
                yield Fault(f"{where}.limits.{name}", reason, f"remove {name}")
        return
    if app.get("server") == "uwsgi":
        reason = "uWSGI runs no ASGI apps: an app with `asgi` is served by gunicorn's own ASGI worker"
        yield Fault(f"{where}.server", reason, "remove server    # or server: gunicorn, which is the same")
    if isinstance(web, Mapping) and web.get("threads") is not None:
        reason = "`threads` has no effect on an app with `asgi`: each of its processes serves all of its requests at once"
        yield Fault(f"{where}.web.threads", reason, "remove threads")
    if app.get("on_demand") is True:
        reason = "only the emperor can wake a sleeping app, and it runs uWSGI, which runs no ASGI apps"
        yield Fault(f"{where}.on_demand", reason, "remove on_demand")
