"""What role tls is given, checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any


def problems(
    apps: Iterable[Mapping[str, Any]], settings: Mapping[str, str], dns_providers: Iterable[str]
) -> list[str]:
    """Invalid settings where *apps* get certificates from an authority: place, reason, fix.

    *settings* has the account at the authority; *dns_providers* are those with credentials.
    """
    problems = []
    acme = [app for app in apps if app["provider"] == "acme"]
    names = ", ".join(app["name"] for app in acme)
    email, directory = settings["email"], settings["directory"]
    if acme and not re.fullmatch(r"[^@\s]+@[^@\s]+", email):
        problems.append(
            f"tls_acme_email is {json.dumps(email)}, and {names} has tls.provider acme. Set the address of your account at "
            "the authority, such as tls_acme_email: admin@example.com; by setting it you agree to the authority's terms"
        )
    if acme and not directory.startswith("https://"):
        problems.append(
            f"tls_acme_directory is {json.dumps(directory)}: set it to the https URL of an ACME directory"
        )
    wanted = {app["dns_provider"] for app in acme if app["challenge"] == "dns-01"}
    if unknown := sorted(wanted.difference(dns_providers)):
        problems.append(
            f"tls_dns_environment has no entry for the DNS provider {', '.join(unknown)}, which {names} asks for. Add one, "
            'such as tls_dns_environment: {hetzner: {HETZNER_API_KEY: "…"}}; `lego dnshelp -c` names the variables'
        )
    if bool(settings["eab_key_id"]) != bool(settings["eab_hmac"]):
        problems.append("tls_acme_eab_key_id and tls_acme_eab_hmac belong together: set both, or neither")
    return problems
