"""With which settings a service runs: its unit has a digest of them in the environment."""

from __future__ import annotations

from ..host.command import run

VARIABLE = b"EMPEROR_STACK_SETTINGS"


def settings_of(unit: str) -> str:
    """The digest of the settings that the running process of *unit* was started with; empty where none runs."""
    shown = run(
        ["systemctl", "show", "--property=MainPID", "--value", unit], what="asking systemd", timeout=30
    )
    try:
        with open(f"/proc/{int(shown)}/environ", "rb") as file:
            variables = dict(one.partition(b"=")[::2] for one in file.read().split(b"\0"))
    except (OSError, ValueError):
        return ""
    return variables.get(VARIABLE, b"").decode(errors="replace")
