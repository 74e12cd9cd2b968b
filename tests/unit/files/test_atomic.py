"""Files and links that are replaced as a whole."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.files import atomic
from ansible_collections.emperor.stack.plugins.module_utils.files.atomic import (
    link_atomically,
    new_file,
    replacing,
    write_atomically,
)
from ansible_collections.emperor.stack.plugins.module_utils.host import layout


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


def test_a_file_has_its_mode_before_its_content(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with replacing(str(path), 0o440) as file:
        found = os.fstat(file.fileno())
        assert (found.st_mode & 0o7777, found.st_size) == (0o440, 0)
        assert not path.exists()
        file.write(b"\xff")
    assert path.read_bytes() == b"\xff"


def test_what_another_process_left_under_the_name_is_not_written_to(tmp_path: Path) -> None:
    """One that died, and had the same number; what lies there may be a link."""
    (tmp_path / "other").write_text("kept")
    (tmp_path / f"it.new-{os.getpid()}").symlink_to("other")
    write_atomically(str(tmp_path / "it"), "new")
    assert sorted(os.listdir(tmp_path)) == ["it", "other"]
    assert (tmp_path / "other").read_text() == "kept"
    with pytest.raises(FileExistsError), new_file(str(tmp_path / "other"), 0o600):
        pass


def test_a_removal_finds_what_a_writer_that_died_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    monkeypatch.setattr(atomic.os, "rename", lambda old, new: names.append(os.path.basename(old)))
    write_atomically(str(tmp_path / "app_blog_jobs@7.service"), "")
    patterns = [pattern for directory, pattern in layout.everything_of("blog") if directory == layout.UNITS]
    assert names
    assert any(re.fullmatch(pattern, names[0]) for pattern in patterns)
