"""Files and links that are replaced as a whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.files import atomic
from ansible_collections.emperor.stack.plugins.module_utils.files.atomic import (
    link_atomically,
    write_atomically,
)


@pytest.mark.parametrize("dies_at", ["fsync", "rename"])
@pytest.mark.parametrize("kind", ["file", "link"])
def test_who_dies_before_the_rename_leaves_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: str, kind: str
) -> None:
    path = str(tmp_path / "it")

    def write(content: str) -> None:
        write_atomically(path, content) if kind == "file" else link_atomically(content, path)

    def read() -> str:
        return Path(path).read_text() if kind == "file" else os.readlink(path)

    def die(*_: Any) -> None:
        raise OSError("disk full")

    write("old")
    with monkeypatch.context() as dying:
        dying.setattr(atomic.os, dies_at, die)
        if kind == "link" and dies_at == "fsync":
            # The rename came before: only the durability is unknown then.
            with pytest.raises(OSError, match="disk full"):
                write("old")
        else:
            with pytest.raises(OSError, match="disk full"):
                write("new")
    assert read() == "old"
    assert os.listdir(tmp_path) == ["it"]
    write("new")
    assert read() == "new"


@pytest.mark.parametrize("mode", [0o600, 0o440])
def test_a_file_never_exists_with_a_wider_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    write_atomically(str(path), "x", mode)
    assert path.stat().st_mode & 0o7777 == mode
