"""Pointers of Git LFS do not go live in the place of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host.release_error import ReleaseError
from ansible_collections.emperor.stack.plugins.module_utils.release.lfs import check_pointers

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"


def test_pointers_are_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    for number in range(7):
        (tmp_path / f"static/{number}.png").write_text(POINTER)
    with pytest.raises(ReleaseError) as error:
        check_pointers(str(tmp_path))
    assert str(error.value).startswith(
        "static/0.png, static/1.png, static/2.png, static/3.png, static/4.png and 2 more: pointers of Git LFS"
    )
    assert "Run `git lfs pull` in a checkout" in str(error.value)


def test_what_is_no_pointer(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text(POINTER)
    code = tmp_path / "code"
    code.mkdir()
    (code / "README.md").write_text(f"Pointers look so:\n{POINTER}")
    (code / "large").write_text(POINTER + "x" * 1024)
    (code / "short").write_text("version https://git-lfs.github.com/spec/v1\n")
    (code / "link").symlink_to(outside)
    os.mkfifo(code / "pipe")
    check_pointers(str(code))
