"""The end of an activation that was kept for a rollback."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.programs import retire
from ansible_collections.emperor.stack.plugins.module_utils.release.state import AppState
from ansible_collections.emperor.stack.plugins.module_utils.systemd import app_units

OLD, NEW = "20261121T100000-abcdef1", "20261122T100000-abcdef2"


@pytest.fixture
def two(
    save: Callable[..., Any], run_activation: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """blog@1 is warm and blog@2 is live."""
    monkeypatch.setattr(app_units, "run", lambda *_, **__: "")
    for release, name in ((OLD, "blog@1"), (NEW, "blog@2")):
        save(release)
        run_activation(release, name, live=release == NEW)
        Path(f"{layout.vassals('a')}/{name}.ini.socket").touch()
        Path(layout.socket("blog", name)).touch()


def left(activation: str) -> list[str]:
    paths = [
        f"{layout.vassals('a')}/{activation}.ini",
        f"{layout.vassals('a')}/{activation}.ini.socket",
        layout.socket("blog", activation),
        f"{layout.activations('blog')}/{activation}",
    ]
    return [path for path in paths if os.path.lexists(path)]


def test_what_was_kept_warm_goes_with_all_that_it_has(two: None) -> None:
    assert len(left("blog@1")) == 4
    assert retire.main("blog", "blog@1") == 0
    assert left("blog@1") == []
    assert len(left("blog@2")) == 4


def test_what_a_rollback_went_back_to_stays(two: None) -> None:
    assert retire.main("blog", "blog@2") == 0
    assert len(left("blog@2")) == 4


def test_it_keeps_out_of_a_deploy(
    two: None, state: AppState, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(retire, "PATIENCE", 0.1)
    with state.working():
        assert retire.main("blog", "blog@1") == 1
    assert capsys.readouterr().err.startswith("blog@1 runs on: a deploy is under way")
    assert len(left("blog@1")) == 4
