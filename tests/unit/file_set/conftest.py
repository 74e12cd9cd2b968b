"""A directory that stands for a host's disk, on which the module runs as whoever runs the tests."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.emperor.stack.plugins.modules import file_set


class Host:
    """A directory that stands for a host's disk."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.capsys = root, capsys
        self.manifests = root / "manifests"

    def path(self, name: str) -> str:
        return str(self.root / name)

    def run(self, files: dict[str, Any], *, check: bool = False, **options: Any) -> dict[str, Any]:
        items = [
            {"path": self.path(name), **(what if isinstance(what, dict) else {"content": what})}
            for name, what in files.items()
        ]
        arguments = {
            "name": "test",
            "files": items,
            "manifests": str(self.manifests),
            "_ansible_check_mode": check,
            "_ansible_diff": True,
            **options,
        }
        self.capsys.readouterr()
        with patch_module_args(arguments), pytest.raises(SystemExit):
            file_set.main()
        return json.loads(self.capsys.readouterr().out)

    def read(self, name: str) -> str:
        return (self.root / name).read_text()

    def state(self) -> dict[str, tuple[Any, ...]]:
        """Everything below the root but the bookkeeping: kind, mode, content."""
        found: dict[str, tuple[Any, ...]] = {}
        for path in sorted(self.root.rglob("*")):
            if self.manifests in (path, *path.parents):
                continue
            mode = stat.S_IMODE(path.lstat().st_mode)
            content = os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else ""
            found[str(path.relative_to(self.root))] = (path.is_symlink(), path.is_dir(), mode, content)
        return found


@pytest.fixture
def host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Host:
    return Host(tmp_path, capsys)
