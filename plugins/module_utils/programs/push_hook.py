"""pre-receive and proc-receive: the hooks of a push that deploys. git starts them as root; see `operate/push.py`."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any

from ..host import layout
from ..operate import push, shown, surroundings, verbs
from ..release import known_app


class Client(io.RawIOBase):
    """Standard error, which ends in the client. That may be gone: what it is not told makes no deploy a failed one."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        left = bytes(data)
        with contextlib.suppress(OSError):
            while left:
                left = left[os.write(2, left) :]
        return len(data)


def to_client() -> io.TextIOWrapper:
    # A raw stream does: with write_through, nothing is kept back.
    return io.TextIOWrapper(Client(), encoding="utf-8", errors="replace", write_through=True)  # type: ignore[arg-type]


def main(hook: str) -> int:
    if hook == "pre-receive":
        try:
            push.before(sys.stdin.read())
        except push.NotPushed as error:
            return shown.complain(str(error))
        return shown.GOOD
    app = os.environ["EMPEROR_APP"]
    surroundings.as_a_module_runs()
    push.unlimited()
    protocol = os.fdopen(os.dup(1), "wb")
    # Standard output is git's; what people are to read goes to standard error, which git passes on to the client.
    sys.stdout = sys.stderr = to_client()

    def deploy(version: str) -> int:
        try:
            return verbs.deploy(known_app.read(app), version, {"login": True})
        except (known_app.Unknown, verbs.Refused) as error:
            return shown.complain(str(error))

    push.process(sys.stdin.buffer, protocol, deploy, layout.pushed(app))
    return shown.GOOD
