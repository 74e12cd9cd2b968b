"""The phase that makes a release."""

from __future__ import annotations

import os
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.files import trees
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.release import build, prepare
from ansible_collections.emperor.stack.plugins.module_utils.release.state import Manifest

from .playing import PHASES_OF_A_DEPLOY, Host


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


def test_the_controller_names_a_release_of_several_hosts(deploys: Host) -> None:
    name = "20261201T100000-aaaaaaa"
    outcome = deploys.phase("prepare", action="deploy", release=name)
    assert outcome["release"] == name
    # Killed there: the next run makes it anew, or takes it as it is.
    deploys.next_run()
    assert deploys.phase("prepare", action="deploy", release=name)["reused"] is True
    deploys.next_run()
    deploys.state.mark(name, status="failed")
    again = deploys.phase("prepare", action="deploy", release=name)
    assert again["release"] == name and "reused" not in again
    assert deploys.status(name) == "prepared"


def test_a_name_that_a_good_release_has_is_refused(deploys: Host) -> None:
    deploys.deploy("a" * 40)
    live = deploys.state.live_release()
    deploys.revision = "b" * 40
    error = deploys.phase("prepare", action="deploy", release=live)["error"]
    assert f"this host has another release {live}" in error
    assert deploys.status(live) == "good"
    for wrong in ("../../../etc", "current"):
        assert "is no name of a release" in deploys.phase("prepare", action="deploy", release=wrong)["error"]


def test_a_switch_that_outlived_its_controller_is_taken_up_where_the_plan_came_before_it(
    deploys: Host,
) -> None:
    """The phase of a killed run goes on on the host. The next run plans meanwhile, and finds the release not live yet."""
    name = "20261201T100000-bbbbbbb"
    deploys.deploy("a" * 40)
    deploys.revision = "b" * 40
    for phase in ("prepare", "migrate", "start"):
        assert "error" not in deploys.phase(phase, action="deploy", release=name)
    dead = deploys.options
    deploys.next_run()
    assert deploys.phase("plan")["action"] == "deploy"
    alive, deploys.options = deploys.options, dead
    assert "error" not in deploys.phase("switch")
    deploys.options = alive
    for phase in PHASES_OF_A_DEPLOY:
        outcome = deploys.phase(phase, action="deploy", release=name)
        assert "error" not in outcome, outcome
        if phase == "start":
            assert deploys.phase("switch")["release"] == name
    assert deploys.state.live_release() == name
    deploys.settled()


def test_a_host_that_does_not_migrate_passes_over_the_phase(deploys: Host) -> None:
    assert deploys.phase("prepare", action="deploy", migrated_on="web1")["done"] == ["migrate"]
    assert "done" not in deploys.phase("prepare", action="deploy")
