"""Run commands, and keep what has to be remembered on the host."""

from __future__ import annotations

import glob
import json
import os
import subprocess
from pathlib import Path
from typing import Any

STATE = Path("/var/lib/emperor-stack/hardening")
APPLIED = STATE / "applied.json"


class HardeningRefused(Exception):
    """The host stays as it is; the text is for whoever runs the playbook."""


# Asking


def run(*words: str, stdin: str | None = None, check: bool = True) -> str:
    # What processes are called may be any bytes.
    done = subprocess.run(
        words, input=stdin, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False
    )
    if check and done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-8:]
        raise HardeningRefused(f"{' '.join(words)} failed: {chr(10).join(said)}")
    return done.stdout if done.returncode == 0 else ""


def quietly(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """As `write_atomically` of files/atomic.py, which a program of Python's own modules cannot use."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    try:
        with open(new, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def stop_for_good(*units: str) -> None:
    """Now and at boot. The files of units of ours are gone by now, and systemctl may leave their links."""
    for unit in units:
        quietly("systemctl", "disable", "--now", "--quiet", unit)
        quietly("systemctl", "stop", unit)
        for link in glob.glob(f"/etc/systemd/system/*.wants/{unit}"):
            os.unlink(link)
