from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import control_groups


@pytest.mark.parametrize(
    ("controllers", "trees", "divided"),
    [
        ("cpuset cpu io memory pids\n", (), True),
        ("memory pids\n", (), False),
        # Not a part of a word.
        ("cpuset memory\n", (), False),
        (None, ("cpu", "memory"), True),
        (None, ("memory",), False),
    ],
)
def test_whether_slices_have_a_part_of_the_processor(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    controllers: str | None,
    trees: tuple[str, ...],
    divided: bool,
) -> None:
    monkeypatch.setattr(control_groups, "TOP", str(tmp_path))
    if controllers is not None:
        (tmp_path / "cgroup.controllers").write_text(controllers)
    for name in trees:
        (tmp_path / name).mkdir()
    assert control_groups.divide_processor() is divided
