"""The phase that makes a release."""

from __future__ import annotations

import os
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.files import trees
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.release import build, prepare
from ansible_collections.emperor.stack.plugins.module_utils.release.state import Manifest

from .playing import Host


def test_a_failure_in_the_lock_itself_gives_it_back(deploys: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(prepare, "clean_up", full)
    assert "No space left" in deploys.deploy()["error"]
    assert deploys.state.lock() is None


def test_a_tree_that_is_refused_leaves_no_rubbish(deploys: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was is kept in the manifest; a tree so deep is not for the usual tools, and may be what fills the disk."""
    deploys.deploy("a" * 40)
    deploys.breaks["prepare"] = trees.TreeRefused("code/d/d lies more than 100 directories deep")
    real, made = deploys._prepare, []

    def prepare(spec: Any, revision: str, release: str, *more: Any) -> Manifest:
        made.append(release)
        here = os.path.dirname(layout.release("blog", release))
        os.makedirs(f"{here}/{release}/code")
        descriptor = os.open(f"{here}/{release}/code", os.O_RDONLY)
        for _ in range(1500):
            os.mkdir("d", dir_fd=descriptor)
            inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        os.close(descriptor)
        raise deploys.breaks["prepare"]

    monkeypatch.setattr(build, "prepare", prepare)
    outcome = deploys.deploy("b" * 40)
    assert "100 directories deep. Its code, venv and public files were deleted\n" in outcome["error"]
    assert deploys.status(made[0]) == "failed"
    assert os.listdir(layout.release("blog", made[0])) == ["release.json"]
    # Corrected, it goes live.
    monkeypatch.setattr(build, "prepare", real)
    deploys.next_run()
    assert "error" not in deploys.deploy("c" * 40)
    deploys.settled()
