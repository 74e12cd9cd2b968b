"""What a deploy says of its time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.release import build, progress
from ansible_collections.emperor.stack.plugins.module_utils.release.lifecycle import NotHealthy
from ansible_collections.emperor.stack.plugins.module_utils.release.lock import Lock

from .playing import PHASES_OF_A_DEPLOY, Host


def test_a_deploy_says_what_took_its_time(deploys: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    plain = build.prepare

    def steps(
        spec: Any, revision: str, release: str, index: Any, say: Callable[[str], None], *rest: Any
    ) -> Any:
        say("fetch")
        say("warning: a version could not be kept")
        say("venv")
        return plain(spec, revision, release, index, say, *rest)

    monkeypatch.setattr(build, "prepare", steps)
    deploys.revision = "a" * 40
    assert deploys.phase("prepare")["warnings"] == ["a version could not be kept"]
    outcomes = [deploys.phase(phase) for phase in PHASES_OF_A_DEPLOY[1:]]
    assert list(outcomes[-1]["took"]) == ["fetch", "venv", "migrate", "start", "switch", "drain"]
    assert deploys.state.history()[-1]["took"] == outcomes[-1]["took"]
    assert outcomes[-1]["url"] == "http://blog.example.com/"


def test_a_phase_that_is_gone_through_twice_counts_both_times() -> None:
    """As start and switch of a warm rollback, which the phases of their own then confirm."""
    held = Lock(took={"start": 1.5, "switch": 0.25})
    took = progress.taken(held, "start", time.monotonic() - 2)
    assert took == {"start": pytest.approx(3.5, abs=0.2), "switch": 0.25}
    assert held.took["start"] == 1.5


def test_a_deploy_that_failed_says_it_too(deploys: Host) -> None:
    deploys.breaks["probe"] = NotHealthy("answered 500")
    assert "answered 500" in deploys.deploy("a" * 40)["error"]
    assert list(deploys.state.history()[-1]["took"]) == ["migrate", "start"]
    deploys.breaks = {"front": NotHealthy("answered 502")}
    assert "answered 502" in deploys.deploy("b" * 40)["error"]
    assert list(deploys.state.history()[-1]["took"]) == ["migrate", "start", "switch"]
