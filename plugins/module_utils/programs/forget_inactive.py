"""forget-inactive EMPEROR: prepare the start of an emperor. Its unit runs this.

Only live activations come back after a restart or a reboot, so the vassals of all others go. The digest of the emperor's
unit and settings is written down: a later run compares it, and knows whether the emperor is out of date.
"""

from __future__ import annotations

import os

from ..host import layout
from ..release import lifecycle
from ..release.state import AppState
from ..uwsgi import emperor_check


def main(emperor: str) -> int:
    for name in os.listdir(layout.vassals(emperor)):
        activation = name.removesuffix(".ini")
        if activation != name and AppState(activation.rpartition("@")[0]).live_activation() != activation:
            lifecycle.remove_vassal(emperor, activation)
    emperor_check.note_start(emperor)
    return 0
