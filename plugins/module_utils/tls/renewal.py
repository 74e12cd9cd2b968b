"""What each app needs now: kept, made or ordered."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..files.atomic import write_atomically
from ..host import layout
from ..host.command import CommandFailed
from . import certificates
from .acme import directory_error, place_order
from .certificates import Certificate
from .self_signed import issue_self_signed
from .serving import HAPROXY, service, stale
from .serving import name as server_name
from .store import (
    App,
    Unusable,
    add_key_of_haproxy,
    directory_digest,
    install,
    lacks_key_of_haproxy,
    last_errors,
    live,
    problems,
    read_wanted,
    remember,
)


def prepare(apps: Sequence[App], settings: Mapping[str, Any], check_mode: bool) -> dict[str, dict[str, Any]]:
    """See to it that each app has some certificate, so that nginx can start with it. No authority is asked.

    *apps* are all of the host: what is not among them is renewed no longer.
    """
    now = time.time()
    outcome = {}
    for app in apps:
        error, changed = "", False
        found = live(app["name"])
        if app["provider"] == "files":
            digest = hashlib.sha256(f"{app['certificate']}\0{app['key']}".encode()).hexdigest()
            if found is None or found.source != "files" or directory_digest(app["name"]) != digest:
                changed = True
                if not check_mode:
                    meta = {"source": "files", "digest": digest}
                    try:
                        found = install(app["name"], app["certificate"], app["key"], meta)
                    except Unusable as reason:
                        error = f"its certificate files cannot be used: {reason}"
                        found, changed = live(app["name"]), False
        if found is None and (other := _same_of_another(app, now)):
            changed = True
            if not check_mode:
                found = _adopt(app, other)
        alone = app["provider"] == "self_signed" and certificates.wanted(app, found, settings, now)
        if found is None or alone:
            changed = True
            if not check_mode:
                found = issue_self_signed(app)
        elif service(settings) == HAPROXY and lacks_key_of_haproxy(app["name"]):
            # This balancer was a host of apps before.
            changed = True
            if not check_mode:
                add_key_of_haproxy(app["name"])
        errors = {"": error} if error else {}
        outcome[app["name"]] = {"changed": changed, **certificates.summary(app, found, errors, now)}
        if app["provider"] == "files" and not check_mode:
            remember(app["name"], {}, errors)
    text = _wanted_text(apps, settings)
    if not check_mode and json.loads(text) != read_wanted():
        write_atomically(layout.TLS_WANTED, text)
    return outcome


def _wanted_text(apps: Sequence[App], settings: Mapping[str, Any]) -> str:
    kept = [{k: v for k, v in app.items() if k not in ("certificate", "key", "files")} for app in apps]
    return json.dumps({**settings, "apps": kept}, indent=1, sort_keys=True) + "\n"


def drift(apps: Sequence[App], settings: Mapping[str, Any]) -> list[str]:
    """What `prepare`, `issue` and `settle` would do or say, a line each. No authority is asked and nothing changes."""
    found = []
    now = time.time()
    for name, one in prepare(apps, settings, True).items():
        lines = [*one["warnings"], *one["errors"].values(), *last_errors(name).values()]
        found += [f"{name}: {line}" for line in lines]
        if one["changed"]:
            found.append(f"{name}: there is no certificate of this kind yet")
    wanted, known = json.loads(_wanted_text(apps, settings)), read_wanted()
    if wanted != known and (apps or known["apps"]):
        found.append(f"{layout.TLS_WANTED} differs")
    for app in apps:
        reason = app["provider"] != "files" and certificates.wanted(app, live(app["name"]), settings, now)
        if reason:
            found.append(f"{app['name']}: {reason}")
    return found + [
        f"{server_name(wanted)} does not serve the certificate of {domain}" for domain in stale(wanted)
    ]


def _same_of_another(app: App, now: float) -> str | None:
    """Another app that has a certificate of this kind for exactly these domains, such as the one that named the site."""
    found = []
    for path in glob.glob(f"{glob.escape(layout.TLS)}/apps/*"):
        other = os.path.basename(path)
        one = live(other) if other != app["name"] else None
        if (
            one
            and one.source == app["provider"]
            and set(one.names) == set(app["domains"])
            and one.left(now) > 0
        ):
            found.append((one.not_after, other))
    return max(found)[1] if found else None


def _adopt(app: App, other: str) -> Certificate | None:
    """Give *app* a copy of what is live for *other*, which may be removed afterwards; None where that is not whole."""
    directory = layout.live_certificate(other)
    try:
        with open(f"{directory}/meta.json", encoding="utf-8") as file:
            meta = json.load(file)
        with open(f"{directory}/certificate.pem", encoding="ascii") as file:
            certificate = file.read()
        with open(f"{directory}/key.pem", encoding="ascii") as file:
            key = file.read()
        return install(app["name"], certificate, key, meta)
    except (OSError, ValueError, Unusable):
        return None


def issue(force: bool = False, patience: float = 3600) -> dict[str, dict[str, Any]]:
    """Renew and order what is wanted, each app for itself. *again*: also what is pausing after a refusal.

    After *patience* seconds no further order is begun; the rest has its turn in the next run.
    """
    wanted = read_wanted()
    deadline = time.monotonic() + patience
    outcome = {}
    directory_problem: str | None = None
    asked = False
    for app in wanted["apps"]:
        now = time.time()
        found = live(app["name"])
        errors: dict[str, str] = {}
        changed = False
        try:
            if app["provider"] == "files":
                errors = last_errors(app["name"])
            elif certificates.wanted(app, found, wanted, now):
                if app["provider"] == "acme" and not asked:
                    directory_problem, asked = directory_error(wanted), True
                if app["provider"] == "self_signed" or found is None:
                    found, changed = issue_self_signed(app), True
                if app["provider"] == "acme" and directory_problem:
                    errors = {"": directory_problem}
                elif app["provider"] == "acme":
                    ordered, errors = place_order(app, found, wanted, force, deadline)
                    found, changed = ordered or found, changed or ordered is not None
            elif app["provider"] == "acme":
                remember(app["name"], {}, {})
        except (CommandFailed, OSError, Unusable) as error:
            errors = {"": str(error)}
        if app["provider"] == "acme":
            # A full disk must not keep the next app from being looked at.
            with contextlib.suppress(OSError):
                remember(app["name"], problems(app["name"]), errors)
        outcome[app["name"]] = {"changed": changed, **certificates.summary(app, found, errors, time.time())}
    return outcome


def status() -> dict[str, dict[str, Any]]:
    """All certificates of the host, with what stood in the way the last time."""
    now = time.time()
    return {
        app["name"]: certificates.summary(app, live(app["name"]), last_errors(app["name"]), now)
        for app in read_wanted()["apps"]
    }
