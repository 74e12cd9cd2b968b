"""What role haproxy is given, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address

_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HASH = re.compile(r"\$[56]\$[A-Za-z0-9./=$]+")
_TIME = re.compile(r"[1-9][0-9]*(ms|s|m|h)")


def problems(users: Mapping[str, str], address: str, interval: str, hard_stop: str) -> list[str]:
    """Invalid settings of the status page and of times: place, reason and fix of each."""
    texts = []
    for user, hashed in users.items():
        if not _USER.fullmatch(str(user)):
            texts.append(f"haproxy_status_users: {user!r} is not a name of letters, digits, dots and hyphens")
        if not _HASH.fullmatch(str(hashed)):
            texts.append(
                f"haproxy_status_users: the value of {user} is not a hash of a password. Take what "
                "`openssl passwd -6` prints, and keep it in a vaulted file"
            )
    if address != "*":
        try:
            ip_address(address)
        except ValueError:
            texts.append(
                f"haproxy_status_address is {address!r}, but must be an IP address of the balancer, or * for all of them"
            )
    for name, value in (("haproxy_check_interval", interval), ("haproxy_hard_stop", hard_stop)):
        if not _TIME.fullmatch(str(value)):
            texts.append(f"{name} is {value!r}, but must be a time such as 500ms, 2s or 1h")
    return texts
