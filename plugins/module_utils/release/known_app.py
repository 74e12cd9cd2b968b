"""What a host knows of an app by itself: all that `emperor` needs to deploy another version of it, without a controller.

`site.yml` writes a file for each app, and a deploy writes that of its app anew; only root can read them. The specification
in it is the one that module `release` gets from the controller, without what only one run knows.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any, TypedDict

from ..files.atomic import write_atomically
from ..host import layout
from ..host.release_error import ReleaseError
from ..values import names
from .options import Options
from .spec import ReleaseSpec

#: Of the file. Raised when an older `emperor` could not use it.
FORMAT = 1

#: What of a specification only one run knows.
OF_ONE_RUN = ("action", "revision", "digest", "done", "former", "refused", "archive", "archive_content")


class Settings(TypedDict):
    """What a run is told beside the apps: see the options of module `release`."""

    keep_releases: int
    keep_warm: int
    uv_environment: Mapping[str, str]
    interpreters: Mapping[str, str]
    http_port: int


class KnownApp(TypedDict):
    format: int
    name: str
    #: None where the host cannot make a release of it; `reason` says why.
    spec: ReleaseSpec | None
    reason: str
    settings: Settings
    #: The web server in front: `nginx` or `apache`.
    front: str
    #: The hosts that have the app, where there are several.
    hosts: list[str]


class Unknown(Exception):
    """The host knows too little of the app. The message says what to do."""


def text(known: KnownApp) -> str:
    """What the file says: the same to the byte, whoever writes it."""
    return json.dumps(known, indent=1, sort_keys=True) + "\n"


def lasting(spec: Mapping[str, Any]) -> ReleaseSpec:
    """*spec*, which may have all of a completed entry in it, as the file keeps it."""
    kept = ReleaseSpec.__annotations__.keys() - set(OF_ONE_RUN)
    # As JSON has it, so that what was read equals what is to be written.
    found: ReleaseSpec = json.loads(json.dumps({key: spec[key] for key in kept if key in spec}))
    return found


def read(app: str) -> KnownApp:
    """Raises Unknown."""
    if wrong := names.name(app):
        raise Unknown(f"{app[:40]!r} is not the name of an app: {wrong.reason}")
    try:
        with open(layout.known_app(app), encoding="utf-8") as file:
            known: KnownApp = json.load(file)
    except PermissionError as error:
        raise Unknown("only root may do this: use sudo") from error
    except FileNotFoundError as error:
        listed = ", ".join(known_apps()) or "none"
        raise Unknown(
            f"this host does not know an app {app}. Known: {listed}. site.yml tells a host of its apps"
        ) from error
    except ValueError as error:
        raise Unknown(f"{layout.known_app(app)} is damaged: run site.yml, which writes it anew") from error
    if known.get("format") != FORMAT:
        raise Unknown(
            f"{layout.known_app(app)} was written by another version of Emperor Stack: run site.yml"
        )
    return known


def known_apps() -> list[str]:
    """The names of all apps that the host knows."""
    try:
        found = os.listdir(layout.KNOWN_APPS)
    except (FileNotFoundError, PermissionError):
        return []
    return sorted(name.removesuffix(".json") for name in found if name.endswith(".json"))


def settings_of(options: Options) -> Settings:
    return {
        "keep_releases": options.keep_releases,
        "keep_warm": options.keep_warm,
        "uv_environment": dict(options.uv_environment),
        "interpreters": dict(options.interpreters),
        "http_port": options.http_port,
    }


def keep(spec: ReleaseSpec, options: Options) -> None:
    """Let the host know what its app was deployed with, where `site.yml` has told it of the app.

    The version stays that of the inventory: another one may have been chosen for one run. What is in the way of the file
    is no failure of the deploy.
    """
    with contextlib.suppress(Unknown, OSError):
        known = read(spec["name"])
        if known["spec"] is None:
            return
        source = {**spec["source"], "version": known["spec"]["source"].get("version")}
        wanted: KnownApp = {
            **known,
            "spec": lasting({**spec, "source": source}),
            "settings": settings_of(options),
        }
        if wanted != known:
            write_atomically(layout.known_app(spec["name"]), text(wanted))


def deployable(known: KnownApp, version: str) -> ReleaseSpec:
    """What a run is told to deploy *version* of the app. Raises ReleaseError where the host cannot."""
    if known["spec"] is None:
        raise ReleaseError(known["reason"])
    spec = known["spec"].copy()
    source = spec["source"].copy()
    source["version"] = version
    spec["source"] = source
    # There is no controller that could tell what the app was in an earlier format: its next release is a new one.
    spec["former"] = ""
    return spec
