"""What a host says of its apps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import control_groups, layout
from ansible_collections.emperor.stack.plugins.module_utils.release.lifecycle import NotHealthy

from .playing import Host


def test_status_says_what_is_there(deploys: Host) -> None:
    deploys.deploy("a" * 40)
    deploys.deploy("b" * 40)
    found = deploys.phase("status")
    assert found["live"]["release"] == deploys.state.live_release()
    assert found["health"] == "ok"
    assert [(a["activation"], a["live"]) for a in found["activations"]] == [
        ("blog@1", False),
        ("blog@2", True),
    ]
    assert len(found["history"]) == 2
    deploys.breaks["front"] = NotHealthy("through nginx: 502")
    assert deploys.phase("status")["health"] == "through nginx: 502"


def test_status_says_since_when_visitors_get_the_page_of_maintenance(
    deploys: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "MAINTENANCE", str(tmp_path))
    assert deploys.phase("status")["maintenance"] is None
    flag = tmp_path / deploys.state.app
    flag.touch()
    os.utime(flag, (0, 0))
    assert deploys.phase("status")["maintenance"] == "1970-01-01T00:00:00Z"


def test_status_says_whether_the_processor_is_divided(
    deploys: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_groups, "TOP", str(tmp_path))
    assert deploys.phase("status")["processor_divided"] is False
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    assert deploys.phase("status")["processor_divided"] is True
