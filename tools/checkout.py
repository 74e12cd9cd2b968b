"""Copies of this checkout for tests: the bundle as a later version may have it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tools.project import ROOT

PHASES = "plugins/module_utils/release/phases.py"


def copied(to: Path, *below: str) -> Path:
    """Copy this checkout, or what lies *below* these paths of it, to the directory *to*, with changes that no commit has."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *below]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_symlink() or (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name, follow_symlinks=False)
    return to


def insert(file: Path, before: str, text: str) -> None:
    """Put *text* into *file* in front of *before*. Raises ValueError where that does not stand there once."""
    content = file.read_text()
    if content.count(before) != 1:
        raise ValueError(f"{before!r} stands {content.count(before)} times in {file}")
    file.write_text(content.replace(before, text + before))


def add_phase(checkout: Path, row: str, before: str, code: str) -> None:
    """Add a phase as docs/development.md tells: its *code* as module `added`, its *row* in front of the phase *before*."""
    table = checkout / PHASES
    table.with_name("added.py").write_text(code)
    insert(table, "from .deploy import ", "from .added import added\n")
    insert(table, f'    Phase(\n        "{before}",\n', f"    {row},\n")
