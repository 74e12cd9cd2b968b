"""Certificates on a host: kept, made, ordered, and taken by nginx without a dropped connection.

Each app has versions of certificate and key, and a symlink to the live one, so that a run which dies leaves a pair that
fits. Used by module `certificates` and by the timer.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..files.atomic import link_atomically, sync_directory, write_atomically
from ..host import layout
from ..host.command import ANSWER, CommandFailed, run
from . import certificates
from .certificates import Certificate

#: Versions of an app's certificate that stay, the live one included.
KEEP = 2
#: Where HAProxy looks for the key of `certificate.pem`.
KEY_OF_HAPROXY = "certificate.pem.key"

App = Mapping[str, Any]


class Unusable(Exception):
    """A certificate that cannot be used, and why."""


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """One at a time: a run of the timer and a playbook wait for each other."""
    # Hardened hosts have a narrower one, with which nginx could not read what lego writes for the authority.
    os.umask(0o022)
    for directory, mode in (
        (os.path.dirname(layout.TLS), 0o755),
        (layout.TLS, 0o700),
        (layout.TLS_ACCOUNTS, 0o700),
        (f"{layout.TLS}/apps", 0o700),
        (layout.CHALLENGES, 0o755),
    ):
        if not os.path.isdir(directory):
            os.mkdir(directory)
            os.chmod(directory, mode)
    descriptor = os.open(layout.TLS_LOCK, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_wanted() -> dict[str, Any]:
    """What the last run of the playbook wanted; no apps before the first."""
    try:
        with open(layout.TLS_WANTED, encoding="utf-8") as file:
            return dict(json.load(file))
    except FileNotFoundError:
        return {"apps": []}


def forget(app: str) -> None:
    """Let the timer ask for no certificate of *app* any more. What it has is deleted with the app's other files."""
    if not os.path.exists(layout.TLS_WANTED):
        return
    with locked():
        known = read_wanted()
        kept = [one for one in known["apps"] if one["name"] != app]
        if len(kept) < len(known["apps"]):
            text = json.dumps({**known, "apps": kept}, indent=1, sort_keys=True) + "\n"
            write_atomically(layout.TLS_WANTED, text)


def _state(app: str) -> str:
    return f"{layout.certificates(app)}/state.json"


def problems(app: str) -> dict[str, dict[str, Any]]:
    """What authorities refused lately, by domain."""
    with contextlib.suppress(FileNotFoundError, ValueError), open(_state(app), encoding="utf-8") as file:
        return dict(json.load(file)["problems"])
    return {}


def remember(app: str, found: Mapping[str, Any], errors: Mapping[str, str]) -> None:
    text = json.dumps({"problems": found, "errors": errors}, indent=1, sort_keys=True) + "\n"
    with contextlib.suppress(FileNotFoundError), open(_state(app), encoding="utf-8") as file:
        if file.read() == text:
            return
    write_atomically(_state(app), text)


def last_errors(app: str) -> dict[str, str]:
    with contextlib.suppress(FileNotFoundError, ValueError), open(_state(app), encoding="utf-8") as file:
        return dict(json.load(file)["errors"])
    return {}


def live(app: str) -> Certificate | None:
    """The live certificate; None when there is none that can be read."""
    return certificate_at(layout.live_certificate(app))


def certificate_at(directory: str) -> Certificate | None:
    try:
        with open(f"{directory}/meta.json", encoding="utf-8") as file:
            meta = json.load(file)
        return _read(f"{directory}/certificate.pem", meta)
    except (OSError, ValueError, Unusable):
        return None


def _read(path: str, meta: Mapping[str, Any]) -> Certificate:
    """Raises Unusable."""
    try:
        with open(path, encoding="ascii") as file:
            pem = file.read()
        command = ["openssl", "x509", "-in", path, "-noout", "-dates", "-ext", "subjectAltName"]
        return certificates.parsed(
            pem, run(command, what="reading the certificate", timeout=30, whole=ANSWER), meta
        )
    except (CommandFailed, KeyError, ValueError) as error:
        raise Unusable(f"it holds no certificate that OpenSSL can read ({error})") from error


def install(app: str, certificate: str, key: str, meta: Mapping[str, Any]) -> Certificate:
    """Make *certificate* (a chain) and *key* the live pair of *app*. Raises Unusable; then nothing has changed."""
    versions = f"{layout.certificates(app)}/versions"
    for directory in (layout.certificates(app), versions):
        os.makedirs(directory, mode=0o700, exist_ok=True)
    name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
    new = f"{versions}/{name}"
    os.mkdir(new, 0o700)
    try:
        write_atomically(f"{new}/key.pem", key)
        write_atomically(f"{new}/certificate.pem", certificate)
        os.symlink("key.pem", f"{new}/{KEY_OF_HAPROXY}")
        write_atomically(f"{new}/meta.json", json.dumps(meta, sort_keys=True) + "\n")
        found = _read(f"{new}/certificate.pem", meta)
        _require_pair(new)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    for directory in (versions, os.path.dirname(layout.certificates(app))):
        sync_directory(directory)
    link_atomically(f"versions/{name}", layout.live_certificate(app))
    # Not by their order alone: two of one second are in any.
    others = sorted(version for version in os.listdir(versions) if version != name)
    for old in others[: max(len(others) - KEEP + 1, 0)]:
        shutil.rmtree(f"{versions}/{old}", ignore_errors=True)
    return found


def lacks_key_of_haproxy(app: str) -> bool:
    """Whether the live certificate was installed by a version of Emperor Stack that knew only nginx."""
    return not os.path.lexists(f"{layout.live_certificate(app)}/{KEY_OF_HAPROXY}")


def add_key_of_haproxy(app: str) -> None:
    os.symlink("key.pem", f"{layout.live_certificate(app)}/{KEY_OF_HAPROXY}")


def _require_pair(directory: str) -> None:
    public = ["openssl", "x509", "-in", f"{directory}/certificate.pem", "-noout", "-pubkey"]
    private = ["openssl", "pkey", "-in", f"{directory}/key.pem", "-pubout", "-passin", "pass:"]
    try:
        same = run(public, what="reading the certificate", whole=ANSWER) == run(
            private, what="reading the key", whole=ANSWER
        )
    except CommandFailed as error:
        raise Unusable(f"its key cannot be read, or has a passphrase ({error.output})") from error
    if not same:
        raise Unusable("certificate and key do not belong together")


def directory_digest(app: str) -> str:
    path = f"{layout.live_certificate(app)}/meta.json"
    with contextlib.suppress(OSError, ValueError), open(path, encoding="utf-8") as file:
        return str(json.load(file).get("digest", ""))
    return ""
