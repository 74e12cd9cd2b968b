"""How somebody comes in by SSH: the ports, this connection, and how it was authenticated."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path

from .commands import quietly, run
from .listeners import ports_of

#: Programs by which somebody comes in by SSH.
SSH_SERVERS = ("sshd", "dropbear")


def accepted_login(log: str, address: str, port: str) -> tuple[str, str] | None:
    """How, and as whom, the connection from *address* and *port* was let in, as sshd's log has it."""
    found = re.findall(rf"Accepted (\S+) for (\S+) from {re.escape(address)} port {re.escape(port)}\b", log)
    return (found[-1][0], found[-1][1]) if found else None


def effective(listing: str) -> dict[str, list[str]]:
    """What `sshd -T` says, by keyword; some have several values."""
    values: dict[str, list[str]] = {}
    for line in listing.splitlines():
        name, _, value = line.partition(" ")
        values.setdefault(name.lower(), []).append(value)
    return values


def ssh_connection() -> tuple[str, str, int] | None:
    """Client's address, client's port and our port of the SSH connection that this was started by.

    sudo takes the variable away, so the processes above are looked through.
    """
    pid = os.getpid()
    while pid > 1:
        with contextlib.suppress(OSError, ValueError, IndexError):
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            for entry in environment:
                if entry.startswith(b"SSH_CONNECTION="):
                    address, port, _, own = entry.decode().partition("=")[2].split()
                    return address, port, int(own)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return None
    return None


def has_sshd() -> bool:
    return shutil.which("sshd") is not None


def sshd_ports() -> set[int]:
    """What sshd listens on by its configuration. sshd wants this directory, which only its unit makes."""
    if not has_sshd():
        return set()
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    said = effective(run("sshd", "-T", check=False))
    return {int(port) for port in said.get("port", []) if port.isdigit()}


def all_ssh_ports() -> set[int]:
    """Every port by which somebody comes in by SSH: this connection's, sshd's, and those where it really listens."""
    # A socket of systemd's own is that of ssh.socket, or of nobody we know.
    found = sshd_ports() | ports_of(SSH_SERVERS)
    if quietly("systemctl", "is-active", "--quiet", "ssh.socket"):
        said = run("systemctl", "show", "--property=Listen", "--value", "ssh.socket", check=False)
        found |= {int(port) for port in re.findall(r":(\d+) \(Stream\)", said)}
        found |= {int(port) for port in re.findall(r"^(\d+) \(Stream\)", said, re.MULTILINE)}
    connection = ssh_connection()
    return found | ({connection[2]} if connection else set())
