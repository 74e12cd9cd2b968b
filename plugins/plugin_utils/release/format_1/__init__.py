"""Fingerprints of format 1: releases made by commit 42dc1c2 and before are known again by them, and not made anew.

They covered each app with all defaults of its time, and the bundle's own texts. Both are frozen here, as that commit had
them; nothing in this directory changes any more, whatever becomes of the originals.

To be deleted in a later version as one piece: this directory; `Specs.former` in ../specs.py and its call in the action
`release`; `takeover.py` of module_utils/release and what calls it in phases.py there; tests/unit/release/test_format_1.py.
Hosts that were not taken over by then get one new release of each app. Raising `FORMAT` means just that, and ends this too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .declared import APP

#: The format that takes these releases over. With any later one all are to be made anew.
FOLLOWED_BY = "2"

#: Nothing of these was in a release.
_FRONT_ONLY = (
    *(
        "redirects",
        "allow",
        "deny",
        "users",
        "rate_limit",
        "cache",
        "headers",
        "static_max_age",
        "maintenance",
    ),
    "intercept_errors",
)
_NO_PART = ("python", "tls", "nginx", "renamed_from", *_FRONT_ONLY)

_REVISION_KEYS = ("version", "path", "archive", "checksum", "package")

_SANDBOX = """\
User={app}
Group={app}
Slice={slice}
UMask=0027
LimitNOFILE=65536
NoNewPrivileges=true
CapabilityBoundingSet=
ProtectSystem=strict
ReadWritePaths=/srv/apps/{app}/shared /srv/apps/{app}/cache /run/emperor-stack/{app}
ProtectHome=true
PrivateTmp=true
PrivateDevices=true
ProtectProc=invisible
ProtectClock=true
ProtectControlGroups=true
ProtectHostname=true
ProtectKernelLogs=true
ProtectKernelModules=true
ProtectKernelTunables=true
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=true
RestrictRealtime=true
RestrictSUIDSGID=true
LockPersonality=true
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM"""

Render = Callable[[str, Mapping[str, Any]], str]
#: Takes the completed app, the name of one of its `files` and the path of its template.
RenderFile = Callable[[Mapping[str, Any], str, str], str]


def fingerprint(
    declared: Mapping[str, Any],
    chosen: Mapping[str, Any],
    secrets: Mapping[str, str],
    listen: int,
    render: Render,
    render_file: RenderFile,
) -> str:
    """That of the app which is *declared* so; empty where no release of that time can have been made of it.

    *chosen* is what of the entry is part of a release today, without defaults; *secrets* are those that the app gets.
    """
    if not APP.knows(chosen):
        return ""
    app = complete(declared)
    material = {
        **app,
        "source": {name: value for name, value in app["source"].items() if name not in _REVISION_KEYS},
        "secrets": dict(secrets),
        "files": {name: render_file(app, name, template) for name, template in app["files"].items()},
        **_texts(app, listen, render),
        "entry": _frozen("entry.py.txt"),
        "launch": _frozen("launch.py.txt"),
        "format": "1",
    }
    for name in _NO_PART:
        material.pop(name, None)
    return hashlib.sha256(json.dumps(material, sort_keys=True).encode()).hexdigest()


def complete(declared: Mapping[str, Any]) -> dict[str, Any]:
    """The app with the keys and defaults of that time, and what was derived from them."""
    app: dict[str, Any] = APP.complete(declared)
    app.pop("state")
    static = [_static(url, path, url.endswith("/"), "static") for url, path in sorted(app["static"].items())]
    static += [_static(url, path, True, "private") for url, path in sorted(app["private"].items())]
    static += [
        _static(f"/emperor-stack-pages/{status}.html", path, False, "page")
        for status, path in sorted(app["error_pages"].items())
    ]
    for item in static:
        item["persistent"] = any(_inside(item["path"], kept) for kept in app["persistent"])
    seconds = app["limits"]["request_timeout"]
    return {
        **app,
        "timeouts": {
            "harakiri": seconds,
            "nginx_read": seconds + 5,
            "worker_reload_mercy": seconds + 5,
            "reload_mercy": seconds + 20,
            "curse_tolerance": seconds + 30,
            "stop": seconds + 40,
        },
        "static_files": static,
        "persistent_directories": [
            {"path": kept, "served": any(_inside(item["path"], kept) for item in static)}
            for kept in app["persistent"]
        ],
    }


def _static(url: str, path: str, directory: bool, kind: str) -> dict[str, Any]:
    return {"url": url, "path": path, "directory": directory, "kind": kind}


def _inside(path: str, directory: str) -> bool:
    return f"{path}/".startswith(f"{directory}/")


def _texts(app: Mapping[str, Any], listen: int, render: Render) -> dict[str, dict[str, str]]:
    """What the bundle's templates gave for *app*: `server_files` and `units`, by file name."""
    name = app["name"]
    common = {"app": app, "socket_directory": f"/run/emperor-stack/{name}", "listen": listen}
    server = "vassal.ini" if app["server"] == "uwsgi" else "gunicorn.conf.py"
    return {
        "server_files": {server: render(_frozen(f"{server}.j2"), common)},
        "units": {
            file: render(_frozen(template), {**common, **more}) for file, template, more in _units(app)
        },
    }


def _units(app: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The units of *app*: file name, template, and what the template got beside the app."""
    name = app["name"]
    escaped = name.replace("-", "\\x2d")
    common = {
        "sandbox": _SANDBOX.format(app=name, slice=f"apps-{escaped}.slice").splitlines(),
        "launch": "/usr/bin/python3 -I @RELEASE_DIRECTORY@/launch.py",
        "active": f"/srv/apps/{name}/active",
        "activations": f"/srv/apps/{name}/activations",
        "run": "/run/emperor-stack",
    }
    if app["server"] != "uwsgi":
        web = {"kind": "web", "stop_signal": "TERM", "stop_timeout": app["timeouts"]["reload_mercy"]}
        yield f"app_{name}_web@.service", "process.service.j2", {**common, **web, "process": "web"}
    for process, worker in app["workers"].items():
        its = {"kind": "worker", "process": process}
        its |= {key: worker[key] for key in ("stop_signal", "stop_timeout")}
        yield f"app_{name}_{process}@.service", "process.service.j2", {**common, **its}
    for process, job in app["schedule"].items():
        its = {"kind": "job", "process": process, "job": job}
        yield f"app_{name}_{process}.service", "process.service.j2", {**common, **its}
        yield f"app_{name}_{process}.timer", "process.timer.j2", its


def _frozen(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
