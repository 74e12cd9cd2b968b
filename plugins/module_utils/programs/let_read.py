"""let-read: let nginx read files that an app moved into a served directory. systemd starts it when nginx asks."""

from __future__ import annotations

import socket

from ..app import readable

#: Seconds without a question after which it ends; the socket stays with systemd.
IDLE = 60
#: The first descriptor that systemd passes on.
FIRST = 3


def main() -> int:
    with socket.socket(fileno=FIRST) as listening:
        readable.serve(listening, IDLE)
    return 0
