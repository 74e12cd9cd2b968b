"""Where things of this checkout are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STATE = ROOT / ".state"
CACHE = ROOT / ".cache"
LOGS = STATE / "logs"

#: On every container, network, volume and image that this bundle makes, and on nothing else.
LABEL = "emperor-stack=1"


def state() -> Path:
    """The directory for what must be remembered between runs, made when missing."""
    STATE.mkdir(exist_ok=True)
    return STATE
