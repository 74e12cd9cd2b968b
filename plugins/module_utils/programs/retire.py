"""retire APP ACTIVATION: stop an activation that was kept warm for a rollback, unless it is live again.

A timer that the deploy has set runs this.
"""

from __future__ import annotations

import sys

from ..release import lifecycle
from ..release.lock import Locked
from ..release.state import AppState

#: Seconds to wait for a deploy that works on the app.
PATIENCE = 600


def main(app: str, activation: str) -> int:
    state = AppState(app)
    try:
        with state.working(PATIENCE):
            if state.live_activation() != activation:
                lifecycle.stop(state, activation)
    except Locked as error:
        print(f"{activation} runs on: {error}", file=sys.stderr)
        return 1
    return 0
