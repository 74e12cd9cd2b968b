"""Order a certificate from an authority: one order for each app, with what its answer means for the account."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import secrets
import shutil
import ssl
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from ..files.atomic import write_atomically
from ..host import layout
from ..host.command import CommandFailed, run
from . import certificates
from .certificates import Certificate, OrderRefused
from .store import App, install, problems, remember

#: Seconds for one order. A slow authority gets its time, and the other apps get theirs.
ORDER = 180


def directory_error(settings: Mapping[str, Any]) -> str | None:
    """What is wrong with the authority's directory; None when it answers."""
    trust = ssl.create_default_context()
    if os.path.exists(layout.TLS_AUTHORITY):
        trust.load_verify_locations(layout.TLS_AUTHORITY)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trust))
    try:
        with opener.open(settings["directory"], timeout=15) as answer:
            if "newOrder" in json.loads(answer.read(65536)):
                return None
        reason = "its answer is not an ACME directory"
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "reason", error))
    return f"the authority {settings['directory']} does not answer: {reason}"


def place_order(
    app: App, found: Certificate, settings: Mapping[str, Any], force: bool, deadline: float
) -> tuple[Certificate | None, dict[str, str]]:
    """A new certificate, or None, and what stands in the way of which domain."""
    now = time.time()
    name, domains = app["name"], list(app["domains"])
    known = problems(name)
    blocked = {} if force else certificates.pausing(known, domains, now)
    # Where the client answers itself, it does so only while it orders.
    if app["challenge"] == "http-01" and settings["preflight"] and not settings.get("challenge_port"):
        for domain in domains:
            if domain not in blocked and (reason := unreachable(domain)):
                blocked[domain] = reason
    # Twice at most: the second time without the domains that the authority has named.
    for _ in range(2):
        chosen = certificates.to_order(app, found, settings, blocked, now)
        left = deadline - time.monotonic()
        if chosen and left < 1:
            return None, {"": "there was no time left to order it in this run; the timer will"}
        if not chosen:
            break
        try:
            new = _ask(app, chosen, settings, min(ORDER, left))
        except OrderRefused as refused:
            named = {domain: refused.domains[domain] for domain in chosen if domain in refused.domains}
            for domain, reason in (named or {"": refused.said}).items():
                known[domain] = certificates.failed(known.get(domain), reason, time.time(), domains)
            blocked.update(named or dict.fromkeys(chosen, refused.said))
            remember(name, known, blocked)
            continue
        kept = {domain: problem for domain, problem in known.items() if domain in blocked}
        remember(name, kept, blocked)
        return new, blocked
    remember(name, known, blocked)
    return None, blocked


def _ask(app: App, domains: Sequence[str], settings: Mapping[str, Any], seconds: float) -> Certificate:
    """One order. Raises OrderRefused."""
    _forget_half_written_accounts()
    try:
        return _ask_once(app, domains, settings, seconds)
    except OrderRefused as refused:
        # An authority that was set up anew, or that closed the account, would refuse for ever.
        if "accountDoesNotExist" not in refused.said or not _discard_account(settings):
            raise
    return _ask_once(app, domains, settings, seconds)


def _forget_half_written_accounts() -> None:
    """lego does not write them atomically, and ends at once when it finds such a one."""
    for path in glob.glob(f"{glob.escape(layout.TLS_ACCOUNTS)}/*/*/account.json"):
        try:
            with open(path, encoding="utf-8") as file:
                json.load(file)
        except ValueError:
            os.unlink(path)


def _discard_account(settings: Mapping[str, Any]) -> bool:
    host = urllib.parse.urlsplit(settings["directory"]).netloc.replace(":", "_")
    account = f"{layout.TLS_ACCOUNTS}/{host}/{settings['email']}"
    if not os.path.isdir(account):
        return False
    shutil.rmtree(f"{account}.unknown", ignore_errors=True)
    os.rename(account, f"{account}.unknown")
    return True


def _ask_once(app: App, domains: Sequence[str], settings: Mapping[str, Any], seconds: float) -> Certificate:
    with tempfile.TemporaryDirectory(dir=layout.TLS) as directory:
        os.symlink(layout.TLS_ACCOUNTS, f"{directory}/accounts")
        command = certificates.lego_command(app, domains, settings, directory, layout.CHALLENGES)
        environment = {str(k): str(v) for k, v in (app.get("environment") or {}).items()}
        if os.path.exists(layout.TLS_AUTHORITY):
            environment["LEGO_CA_CERTIFICATES"] = layout.TLS_AUTHORITY
            environment["LEGO_CA_SYSTEM_CERT_POOL"] = "true"
        shown = f"lego for {', '.join(domains)}"
        try:
            run(command, what="the order", env=environment, cwd=directory, timeout=seconds, shown_as=shown)
            # As lego writes a wildcard in the name of a file.
            written = f"{directory}/certificates/{domains[0].replace('*', '_')}"
            with open(f"{written}.crt", encoding="ascii") as file:
                certificate = file.read()
            with open(f"{written}.key", encoding="ascii") as file:
                key = file.read()
        except CommandFailed as error:
            raise certificates.refusal(error.output or str(error), domains) from error
        except FileNotFoundError as error:
            raise OrderRefused(f"lego succeeded, but left no certificate ({error})", {}) from error
    meta = {"source": "acme", "authority": settings["directory"], "key_type": settings["key_type"]}
    return install(app["name"], certificate, key, meta)


def unreachable(domain: str) -> str | None:
    """Why an authority would not find our answer at *domain*; None when it would.

    Asked as it asks: by name, on port 80, following redirects and trusting any certificate on the way.
    """
    token = f"emperor-stack-{secrets.token_urlsafe(12)}"
    directory = f"{layout.CHALLENGES}/.well-known/acme-challenge"
    os.makedirs(directory, mode=0o755, exist_ok=True)
    url = f"http://{domain}/.well-known/acme-challenge/{token}"
    anything = ssl.create_default_context()
    anything.check_hostname = False
    anything.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=anything)
    )
    path = f"{directory}/{token}"
    write_atomically(path, token, mode=0o644)
    try:
        with opener.open(url, timeout=10) as answer:
            if answer.read(1024) == token.encode():
                return None
        reason = "another server answers there"
    except urllib.error.HTTPError as error:
        reason = f"another server answers there, with {error.code}"
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "reason", error))
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    return f"http://{domain}/ does not lead to this host ({reason}), so no certificate was requested for it"
