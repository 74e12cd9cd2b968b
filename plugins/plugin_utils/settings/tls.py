"""What role tls is given, checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..schema import apps as completed
from ..schema.faults import Encrypted, Fault, Unresolved, given, unresolved

#: Variables of a host that `faults` reads, with the names that `problems` has for them.
_SETTINGS = {
    "tls_acme_email": "email",
    "tls_acme_directory": "directory",
    "tls_acme_eab_key_id": "eab_key_id",
    "tls_acme_eab_hmac": "eab_hmac",
}
_CREDENTIALS = "tls_dns_environment"
_CREDENTIALS_EXAMPLE = (
    f'{_CREDENTIALS}: {{hetzner: {{HETZNER_API_KEY: "…"}}}}    # `lego dnshelp -c` names the variables'
)
NAMES = (*_SETTINGS, _CREDENTIALS)


def problems(
    apps: Iterable[Mapping[str, Any]], settings: Mapping[str, str], dns_providers: Iterable[str]
) -> list[str]:
    """Invalid settings where *apps* get certificates from an authority: place, reason, fix.

    *settings* has the account at the authority; *dns_providers* are those with credentials.
    """
    return [
        f"{fault.where}: {fault.reason}. Fix: {fault.fix}" for fault in _faults(apps, settings, dns_providers)
    ]


def faults(values: Mapping[str, Any], apps: Sequence[Mapping[str, Any]]) -> Iterator[Fault]:
    """The same for the variables *values* of a host, and its python_apps, which have no problem of their own."""
    unknown = {name: value for name, value in values.items() if isinstance(value, Unresolved)}
    for name, value in unknown.items():
        if not isinstance(value, Encrypted):
            yield unresolved(value, name)
    if unknown.keys() - {"tls_acme_eab_hmac"}:
        return
    settings = {short: "hidden" if name in unknown else values[name] for name, short in _SETTINGS.items()}
    # Most hosts have no app with TLS, and to complete apps takes its time.
    with_tls = [app for app in apps if ((app.get("tls") or {}).get("provider") or "none") != "none"]
    credentials = values[_CREDENTIALS] or {}
    if not isinstance(credentials, Mapping):
        yield Fault(_CREDENTIALS, f"this is {given(credentials)}, but must be a map", _CREDENTIALS_EXAMPLE)
        return
    yield from _faults(completed.tls_apps(with_tls), settings, credentials)


def _faults(
    apps: Iterable[Mapping[str, Any]], settings: Mapping[str, Any], dns_providers: Iterable[str]
) -> Iterator[Fault]:
    acme = [app for app in apps if app["provider"] == "acme"]
    names = ", ".join(app["name"] for app in acme) + (" has" if len(acme) == 1 else " have")
    email, directory = settings["email"], settings["directory"]
    if acme and not re.fullmatch(r"[^@\s]+@[^@\s]+", str(email)):
        yield Fault(
            "tls_acme_email",
            f"it is {json.dumps(email, default=str)}, and {names} tls.provider acme",
            "tls_acme_email: admin@example.com    # your account at the authority, whose terms you agree to by setting it",
        )
    if acme and not str(directory).startswith("https://"):
        yield Fault(
            "tls_acme_directory",
            f"it is {json.dumps(directory, default=str)}, and {names} tls.provider acme",
            "set it to the https URL of an ACME directory",
        )
    wanted = {app["dns_provider"] for app in acme if app["challenge"] == "dns-01"}
    if unknown := sorted(wanted.difference(dns_providers)):
        asking = ", ".join(app["name"] for app in acme if app["dns_provider"] in unknown)
        yield Fault(
            _CREDENTIALS,
            f"it has no entry for the DNS provider {', '.join(unknown)}, asked for by {asking}",
            _CREDENTIALS_EXAMPLE,
        )
    if bool(settings["eab_key_id"]) != bool(settings["eab_hmac"]):
        yield Fault(
            "tls_acme_eab_key_id and tls_acme_eab_hmac",
            "one of the two is set without the other",
            "set both, or neither",
        )
