"""go-back APP TOKEN: take back a switch that the run TOKEN has begun, unless that run has confirmed it.

A timer that the switch has set runs this, on hosts that have an app together with others.
"""

from __future__ import annotations

import sys

from ..release import confirm
from ..release.lock import Locked

#: Seconds to wait for a phase that works on the app.
PATIENCE = 3600


def main(app: str, token: str) -> int:
    try:
        done = confirm.go_back(app, token, PATIENCE)
    except (Locked, OSError) as error:
        print(f"the switch of {app} stays: {error}", file=sys.stderr)
        return 1
    if done:
        print(done)
    return 0
