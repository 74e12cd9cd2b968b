"""Which certificate the web server (nginx, or HAProxy on a balancer) serves, and how it loads a new one."""

from __future__ import annotations

import hashlib
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any

from ..host.command import CommandFailed, run
from .store import live, read_wanted

HAPROXY = "haproxy.service"


def served(domain: str, port: int) -> str:
    """The fingerprint of what this host shows for *domain*; empty when it shows nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as connection,
            context.wrap_socket(connection, server_hostname=domain) as secured,
        ):
            return hashlib.sha256(secured.getpeercert(binary_form=True) or b"").hexdigest()
    except OSError:
        return ""


def stale(wanted: Mapping[str, Any]) -> list[str]:
    """Domains for which this host shows another certificate than the live one."""
    found = []
    for app in wanted["apps"]:
        certificate = live(app["name"])
        if certificate and served(app["domains"][0], wanted["https_port"]) != certificate.fingerprint:
            found.append(app["domains"][0])
    return found


def name(wanted: Mapping[str, Any]) -> str:
    """The server, as messages call it."""
    return "HAProxy" if service(wanted) == HAPROXY else "nginx"


def service(wanted: Mapping[str, Any]) -> str:
    """The unit that serves the certificates."""
    return str(wanted.get("service", "nginx.service"))


def settle(check_mode: bool = False) -> tuple[bool, list[str]]:
    """Let the server take up certificates that it does not show yet. Returns whether it had to, and what is left over."""
    wanted = read_wanted()
    waiting = stale(wanted)
    if not waiting or check_mode:
        return bool(waiting), []
    try:
        unit = service(wanted)
        run(["systemctl", "reload", unit], what=f"reloading {unit}", timeout=60)
    except CommandFailed:
        return True, waiting
    deadline = time.monotonic() + 15
    while (waiting := stale(wanted)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return True, waiting
