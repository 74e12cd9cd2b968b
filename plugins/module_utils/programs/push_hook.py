"""pre-receive and proc-receive: the hooks of a push that deploys. git starts them as root; see `operate/push.py`."""

from __future__ import annotations

import os
import sys

from ..host import layout
from ..operate import push, shown, surroundings, verbs
from ..release import known_app


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
    sys.stdout = sys.stderr

    def deploy(version: str) -> int:
        try:
            return verbs.deploy(known_app.read(app), version, {"login": True})
        except (known_app.Unknown, verbs.Refused) as error:
            return shown.complain(str(error))

    push.process(sys.stdin.buffer, protocol, deploy, layout.pushed(app))
    return shown.GOOD
