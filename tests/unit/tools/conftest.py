"""Commands that the tools call, replaced by small scripts on PATH that note how they were called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Fake = Callable[[str, str], None]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """`fake(name, body)`: a shell script called *name* is the only one of that name that the tools find."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))

    def write(name: str, body: str) -> None:
        script = directory / name
        script.write_text(f'#!/bin/sh\necho "{name} $*" >> "$CALLS"\n{body}\n')
        script.chmod(0o755)

    return write


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[], list[str]]:
    def read() -> list[str]:
        path = tmp_path / "calls"
        return path.read_text().splitlines() if path.exists() else []

    return read


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `.state` of its own, so that a test never meets this checkout's."""
    from tools import project

    place = tmp_path / "state"
    monkeypatch.setattr(project, "STATE", place)
    return place
