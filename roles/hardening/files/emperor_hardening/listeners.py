"""Programs that listen on the network, and those that a firewall would cut off."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOOPBACK = re.compile(r"127\.|\[?::1\]?$|\[::ffff:127\.")


# What is asked


@dataclass(frozen=True)
class Listener:
    protocol: str
    address: str
    port: int
    process: str

    def __str__(self) -> str:
        return f"{self.process} ({self.protocol} {self.port} at {self.address})"


def listeners(listing: str) -> list[Listener]:
    """Who can be reached from outside, from `ss -Hlntup`."""
    found = []
    for line in listing.splitlines():
        fields = line.split()
        if len(fields) < 6 or fields[0] not in ("tcp", "udp"):
            continue
        address, _, port = fields[4].rpartition(":")
        # A socket of one interface has its name behind the address.
        address = address.partition("%")[0]
        if LOOPBACK.match(address) or not port.isdigit():
            continue
        process = re.search(r'"([^"]+)"', line)
        name = "".join(letter if letter.isprintable() else "?" for letter in process[1]) if process else ""
        found.append(Listener(fields[0], address, int(port), name or "a process"))
    return found


def ports_of(programs: Iterable[str], proc: Path = Path("/proc")) -> set[int]:
    """TCP ports, beside those of the loopback, at which root runs one of *programs*, by what only the kernel says.

    Each process may call itself `sshd`, which is what `ss` prints. An app that did so would have its port opened.
    """
    sockets = set()
    for process in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # An upgrade has replaced it: "/usr/sbin/sshd (deleted)".
            program = os.path.basename(os.readlink(process / "exe")).removesuffix(" (deleted)")
            if program in programs:
                sockets |= {os.readlink(one) for one in (process / "fd").iterdir()}
    found = set()
    for table in ("net/tcp", "net/tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in (proc / table).read_text().splitlines()[1:]:
                # Local address, remote address, state, …, the socket's owner, …, its inode: proc(5).
                _, local, _, state, _, _, _, owner, _, inode, *_ = line.split()
                address, _, port = local.partition(":")
                own = (address[6:8] == "7F" and len(address) == 8) or address == f"{'0' * 24}01000000"
                if state == "0A" and owner == "0" and not own and f"socket:[{inode}]" in sockets:
                    found.add(int(port, 16))
    return found


def cut_off(
    found: Iterable[Listener], accepted: Iterable[Mapping[str, Any]], ssh: Iterable[int], ephemeral: int
) -> list[Listener]:
    """Those of *found* that a firewall with the rules *accepted* would keep from everybody.

    Datagram sockets from port *ephemeral* on are those of clients, whose answers come through.
    """
    rules = [
        ("udp", 68, 68),
        ("udp", 546, 546),
        *(("tcp", port, port) for port in ssh),
        *((rule["protocol"], int(rule["first"]), int(rule["last"])) for rule in accepted),
    ]
    return [
        one
        for one in dict.fromkeys(found)
        if not (one.protocol == "udp" and one.port >= ephemeral)
        and not any(one.protocol == kind and first <= one.port <= last for kind, first, last in rules)
    ]


def cut_off_message(lost: Iterable[Listener]) -> str:
    found = list(dict.fromkeys(lost))
    rules = ", ".join(
        f"{{port: {port}{', protocol: udp' if protocol == 'udp' else ''}}}"
        for port, protocol in sorted({(one.port, one.protocol) for one in found})
    )
    return (
        f"the firewall is new on this host, and would cut off {', '.join(map(str, found))}.\nOpen their "
        f"ports: hardening_firewall_allow: [{rules}] (add from: [10.0.0.0/8] to limit who may "
        "connect);\nor stop them, or let them listen on 127.0.0.1; or disable the firewall: "
        "hardening_firewall: false"
    )
