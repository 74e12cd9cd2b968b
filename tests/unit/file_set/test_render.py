"""Items of a set as they are written in a role, made ready for the module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.emperor.stack.plugins.plugin_utils.file_set.render import directory_items


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name, content in (("a.py", "1\n"), ("b/c.py", "é\n"), ("b/d.txt", "x"), ("e/f.txt", "x")):
        path = tmp_path / "from" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    for name in (".hidden.py", "b/__pycache__/c.cpython-311.pyc", ".git/x.py"):
        path = tmp_path / "from" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return tmp_path / "from"


def test_a_directory_of_the_controller(source: Path) -> None:
    item = {"path": "/lib/x", "source": str(source), "pattern": "*.py", "owner": "root", "mode": "0600"}
    assert list(directory_items(item)) == [
        {"path": "/lib/x", "owner": "root", "directory": True},
        {"path": "/lib/x/b", "owner": "root", "directory": True},
        {"path": "/lib/x/a.py", "owner": "root", "mode": "0600", "content": "1\n"},
        {"path": "/lib/x/b/c.py", "owner": "root", "mode": "0600", "content": "é\n"},
    ]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"pattern": "*.rb"}, r"there is no file \*\.rb below"),
        ({"source": "/nowhere"}, "there is no file"),
        ({"content": "x"}, "give source or content, not both"),
        ({"each": []}, "give source or each, not both"),
    ],
)
def test_nothing_is_taken_where_nothing_is_meant(source: Path, more: dict[str, Any], said: str) -> None:
    """An empty set would remove what is on the host."""
    with pytest.raises(AnsibleActionFail, match=said):
        list(directory_items({"path": "/lib/x", "source": str(source), **more}))
