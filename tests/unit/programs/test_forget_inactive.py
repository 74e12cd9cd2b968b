"""What an emperor finds when it starts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.programs import forget_inactive
from ansible_collections.emperor.stack.plugins.module_utils.uwsgi import emperor_check

OLD, NEW = "20261121T100000-abcdef1", "20261122T100000-abcdef2"


@pytest.fixture
def unit(host: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The text of the emperor's unit and settings."""
    monkeypatch.setattr(emperor_check, "UNIT", str(host / "emperor.service"))
    (host / "emperor.service").write_text("[Service]\n")
    Path(emperor_check.settings("a")).write_text("[uwsgi]\n")
    return b"[Service]\n[uwsgi]\n"


def test_only_what_is_live_comes_back(
    unit: bytes, save: Callable[..., Any], run_activation: Callable[..., str]
) -> None:
    for release, name in ((OLD, "blog@1"), (NEW, "blog@2")):
        save(release)
        run_activation(release, name, live=release == NEW)
    run_activation(OLD, "blog@3", emperor="b")
    for name in ("blog@1.ini.socket", "blog@2.ini.socket"):
        Path(layout.vassals("a"), name).touch()
    # Of an app that is gone.
    os.symlink("/nowhere", f"{layout.vassals('a')}/gone@7.ini")
    assert forget_inactive.main("a") == 0
    assert sorted(os.listdir(layout.vassals("a"))) == ["blog@2.ini", "blog@2.ini.socket"]
    assert os.listdir(layout.vassals("b")) == ["blog@3.ini"]


def test_what_it_starts_with_is_known(unit: bytes) -> None:
    forget_inactive.main("a")
    assert emperor_check.started_digest("a") == hashlib.sha256(unit).hexdigest()
    assert emperor_check.started_digest("a") == emperor_check.wanted_digest("a")
    assert Path(layout.emperor_started("a")).stat().st_mode & 0o777 == 0o644
