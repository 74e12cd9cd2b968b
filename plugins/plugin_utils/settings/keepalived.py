"""What role keepalived is given, checked."""

from __future__ import annotations

import re
from ipaddress import ip_interface

_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,14}")


def problems(address: str, interface: str, router_id: int, interval: float) -> list[str]:
    """Invalid settings: place, reason and fix of each. Without an *address* there is no keepalived."""
    if not address:
        return []
    texts = []
    try:
        ip_interface(address)
        right = "/" in address
    except ValueError:
        right = False
    if not right:
        texts.append(
            f"keepalived_address is {address!r}, but must be an IP address with its prefix, such as 192.0.2.10/24"
        )
    if not _INTERFACE.fullmatch(interface):
        texts.append(
            f"keepalived_interface is {interface!r}. Set the network interface that gets {address}; `ip -br address` on the "
            "balancer shows their names"
        )
    if not 1 <= int(router_id) <= 255:
        texts.append(f"keepalived_router_id is {router_id}, but must be a number from 1 to 255")
    if not 0.1 <= float(interval) <= 40:
        texts.append(f"keepalived_interval is {interval}, but must be 0.1 to 40 seconds")
    return texts
