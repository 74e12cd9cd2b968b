"""How a balancer calls an app and a host of it: in its configuration, at its socket, in its list of holds."""

from __future__ import annotations

import re


def backend(app: str) -> str:
    return f"app_{app}"


def app_of(name: str) -> str | None:
    """The app that the backend *name* is for; None for a backend that is for none."""
    return name.removeprefix("app_") if name.startswith("app_") else None


def variable(app: str, host: str) -> str:
    """The variable of HAProxy's configuration that is `disabled` while *app* is held out on *host*."""
    return "HOLD_" + re.sub(r"[^A-Za-z0-9]", lambda found: f"_{ord(found[0]):x}_", f"{app}@{host}")
