"""What an app with a wildcard among its domains cannot have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..faults import Fault
from ..rules import domains
from .entries import good_items
from .found import Controller


def faults(app: Mapping[str, Any], where: str, _: Controller) -> Iterator[Fault]:
    names = [name for _, name in good_items(app.get("domains"), domains.domain)]
    wildcards = [name for name in names if name.startswith(domains.WILDCARD)]
    if names[:1] and names[0] in wildcards:
        name = names[0].removeprefix(domains.WILDCARD)
        reason = "others redirect to the first domain, and probes ask for it: it is a name, and no wildcard"
        yield Fault(f"{where}.domains[0]", reason, f'domains: [{name}, "{names[0]}"]')
    tls = app.get("tls")
    if not wildcards or not isinstance(tls, Mapping) or tls.get("provider") != "acme":
        return
    if tls.get("challenge") != "dns-01":
        reason = (
            f"authorities give a certificate for {wildcards[0]} only where a DNS record proves the domain"
        )
        fix = "challenge: dns-01, dns_provider: hetzner    # `lego dnshelp` on the host lists the providers"
        yield Fault(f"{where}.tls.challenge", reason, fix)
