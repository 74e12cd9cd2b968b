"""The backup server of the fleet: who may store backups there, and by which URL."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import derived
from .databases import address

PORT = 8000


def _password(secret: str, host: str) -> str:
    return derived.password(secret, "backup", host)


def _checked(host: str) -> str:
    """*host* as the name of a user, of a directory and as a part of a URL. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", host):
        raise ValueError(
            f"{host!r} is the name of a host in the inventory, and has characters that no repository's name can have. "
            "Use letters, digits, dots, - and _"
        )
    return host


def problems(servers: Sequence[str], hosts: Mapping[str, Mapping[str, Any]], secret: str) -> list[str]:
    """What is wrong with group `backup_server`, which has *servers*; *hosts* are those and all that have backups."""
    if len(servers) != 1:
        return [
            _problem("group backup_server", f"it has {len(servers)} hosts", "keep one of them in the group")
        ]
    found = []
    if unknown := sorted(name for name, host in hosts.items() if not address(host)):
        reason = f"the address of {', '.join(unknown)} is not known, and the backup server lets in known hosts only"
        found.append(
            _problem("host_address", reason, "host_address: 10.0.0.5    # of the host, in host_vars")
        )
    if len(secret) < derived.SHORTEST:
        reason = (
            "passwords for the backup server are derived from it, and it is missing or shorter than "
            f"{derived.SHORTEST} characters"
        )
        fix = (
            "vault_services_secret: …    # for all hosts, in a vaulted file; openssl rand -hex 32 prints one"
        )
        found.append(_problem("vault_services_secret", reason, fix))
    return found


def _problem(place: str, reason: str, fix: str) -> str:
    return f"{place}\n  reason: {reason}\n  fix:    {fix}"


def users(hosts: Iterable[str], secret: str) -> list[dict[str, str]]:
    """What role backup_server takes as `backup_server_users`: each of *hosts*, sorted, with the hash of its password.

    The password is long and random: from the hash nobody finds it by trying.
    """
    return [
        {
            "name": _checked(host),
            "password_hash": "{SHA}" + base64.b64encode(digest(_password(secret, host))).decode(),
        }
        for host in sorted(set(hosts))
    ]


def digest(password: str) -> bytes:
    """As htpasswd writes it, and the server reads it."""
    return hashlib.sha1(password.encode(), usedforsecurity=False).digest()


def url(host: str, server: str, secret: str) -> str:
    """The repository of *host* on the server at address *server*."""
    place = f"[{server}]" if ":" in server else server
    return f"rest:https://{host}:{_password(secret, host)}@{place}:{PORT}/{_checked(host)}/"
