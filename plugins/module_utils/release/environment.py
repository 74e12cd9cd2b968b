"""The environment of an app: of every process of a release, whoever starts it.

It is made once, when the release is, and lies in the release's environment.json. The release's launch.py takes it on and
becomes the program: web servers, workers, timers, hooks, builds, migrations, checks and commands are all begun by it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..host import layout
from ..host.masking import hide
from ..systemd.app_process import run_as
from .spec import ReleaseSpec


def of_account(app: str) -> dict[str, str]:
    """Whose process it is: what holds for the app's code and for what installs its requirements."""
    return {"HOME": layout.cache(app), "USER": app, "LOGNAME": app}


#: What stands in `env` for a path that the controller does not know: of the release's own code, and of the persistent data.
PLACES = ("@CODE@", "@SHARED@")


def of_release(
    app: str,
    release: str,
    revision: str,
    declared: Mapping[str, str],
    secrets: Sequence[str] = (),
    pythonpath: Sequence[str] = (),
) -> dict[str, str]:
    """The environment of every process of *release*: *declared* are the app's `env` and its secrets.

    `PLACES` are filled in, but never in *secrets*, names of values that stay as they are. *pythonpath* are directories of
    the code.
    """
    venv, code = f"{layout.release(app, release)}/venv", f"{layout.release(app, release)}/code"
    places = dict(zip(PLACES, (code, layout.shared(app)), strict=True))
    declared = {
        name: value if name in secrets else _filled(value, places) for name, value in declared.items()
    }
    paths = [f"{code}/{path}" for path in pythonpath]
    return {
        # In /tmp it would meet the other apps. These two an app may set for itself.
        "TMPDIR": layout.temporary(app),
        "PYTHONUNBUFFERED": "1",
        **declared,
        **of_account(app),
        "VIRTUAL_ENV": venv,
        "PATH": f"{venv}/bin:/usr/local/bin:/usr/bin:/bin",
        "APP_NAME": app,
        "APP_RELEASE": release,
        "APP_REVISION": revision,
        "LANG": "C.UTF-8",
        "PYTHONUTF8": "1",
        **({"PYTHONPATH": ":".join(paths)} if paths else {}),
    }


def _filled(value: str, places: Mapping[str, str]) -> str:
    for place, path in places.items():
        value = value.replace(place, path)
    return value


def of_spec(spec: ReleaseSpec, release: str, revision: str) -> dict[str, Any]:
    """What environment.json of *release* is to hold."""
    app = spec["name"]
    processes = {**spec["workers"], **spec["schedule"]}
    return {
        "environment": of_release(
            app,
            release,
            revision,
            spec["environment"],
            list(spec.get("secrets") or ()),
            spec.get("pythonpath") or (),
        ),
        "wsgi": spec["wsgi"],
        "paste": spec["paste"],
        "preload": spec["web"]["preload"],
        **_of_asgi(spec),
        "app": {"name": app, "home": layout.cache(app)},
        "commands": {name: process["command"] for name, process in processes.items()},
        "secrets": sorted(spec.get("secrets") or {}),
    }


def _of_asgi(spec: ReleaseSpec) -> dict[str, Any]:
    """What only asgi.py wants to know."""
    if not spec.get("asgi"):
        return {}
    limits = spec["limits"]
    wanted = {"request_timeout": "request_timeout", "drain": "websocket_drain", "idle": "connection_idle"}
    return {"asgi": spec["asgi"], "limits": {name: limits[key] for name, key in wanted.items()}}


def entry(app: str, release: str) -> dict[str, Any]:
    """What environment.json of *release* holds. Raises OSError and ValueError."""
    with open(f"{layout.release(app, release)}/environment.json", encoding="utf-8") as file:
        return dict(json.load(file))


def hide_secrets(app: str, release: str) -> None:
    """Let no message show a secret of *release* from now on, whatever its commands and its log say."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        known = entry(app, release)
        hide(known["environment"][name] for name in known["secrets"])


def launched(directory: str, argv: Sequence[str]) -> list[str]:
    """The command that becomes *argv* in the environment of the release in *directory*, and in its code."""
    return [*layout.launch(directory), "program", *argv]


def run_line(app: str, release: str, line: str, what: str, timeout: float = 1800) -> str:
    """Run a command line of the app's owner in *release*, as the app's user. Raises CommandFailed."""
    hide_secrets(app, release)
    directory = layout.release(app, release)
    return run_as(
        app,
        launched(directory, ["/bin/sh", "-ec", line]),
        what=what,
        cwd=f"{directory}/code",
        timeout=timeout,
        shown_as=line,
    )
