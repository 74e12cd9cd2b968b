"""What a failed deploy leaves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.files import trees
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed
from ansible_collections.emperor.stack.plugins.module_utils.host.release_error import ReleaseError
from ansible_collections.emperor.stack.plugins.module_utils.release import abort, lifecycle
from ansible_collections.emperor.stack.plugins.module_utils.release import workers as release_workers
from ansible_collections.emperor.stack.plugins.module_utils.release.lifecycle import NotHealthy
from ansible_collections.emperor.stack.plugins.module_utils.release.state import AppState

from .playing import Host

FAILURES = [
    ("prepare", CommandFailed("build", "make", "exit status 2", "no rule")),
    ("prepare", OSError(28, "No space left on device")),
    ("before_migrate", CommandFailed("hook", "x", "exit status 1", "")),
    ("migrate", CommandFailed("migrate", "x", "exit status 1", "no such table")),
    ("before_start", CommandFailed("hook", "x", "exit status 1", "")),
    ("probe", NotHealthy("answered 500")),
    ("after_start", CommandFailed("hook", "x", "exit status 1", "")),
    ("before_switch", CommandFailed("hook", "x", "exit status 1", "")),
    ("front", NotHealthy("through nginx: 502")),
    ("after_switch", CommandFailed("hook", "x", "exit status 1", "")),
]


@pytest.mark.parametrize("first", [True, False], ids=["the first release", "a later one"])
@pytest.mark.parametrize(("step", "failure"), FAILURES, ids=[step for step, _ in FAILURES])
def test_a_failure_leaves_the_live_release(deploys: Host, step: str, failure: Exception, first: bool) -> None:
    if not first:
        deploys.deploy("a" * 40)
        deploys.next_run()
    live = deploys.state.live_activation()
    deploys.breaks[step] = failure
    outcome = deploys.deploy("b" * 40)
    assert str(failure) in outcome["error"]
    assert ("keeps serving" in outcome["error"]) is not first
    assert "is kept at" in outcome["error"]
    assert deploys.state.live_activation() == live
    assert deploys.state.lock() is None
    assert deploys.vassals() == ([live] if live else [])
    assert deploys.state.activation_names() == deploys.vassals()
    assert deploys.status(outcome["release"]) == "failed"
    entry = deploys.state.history()[-1]
    assert (entry["result"], entry["phase"]) == ("failed", outcome["phase"])
    assert str(failure) in entry["reason"]
    # The next run makes it anew, and the failed one is not taken for a part of a release.
    deploys.next_run()
    assert "error" not in deploys.deploy("b" * 40)
    deploys.settled()


#: What an app's content may raise in our own code, which nobody thought of.
UNEXPECTED = [
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"),
    RecursionError("maximum recursion depth exceeded"),
    ValueError("invalid literal for int() with base 10: 'zz'"),
    json.JSONDecodeError("Expecting value", "", 0),
    MemoryError(),
    KeyError("workers"),
]


@pytest.mark.parametrize("step", ["prepare", "migrate", "probe", "front", "after_switch"])
@pytest.mark.parametrize("failure", UNEXPECTED, ids=[type(one).__name__ for one in UNEXPECTED])
def test_what_nobody_expected_leaves_what_a_failure_leaves(
    deploys: Host, step: str, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[str] = []
    monkeypatch.setattr("syslog.syslog", lambda _, line: logged.append(line))
    deploys.deploy("a" * 40)
    deploys.next_run()
    live = deploys.state.live_activation()
    deploys.breaks[step] = failure
    outcome = deploys.deploy("b" * 40)
    phase = outcome["phase"]
    reason = outcome["error"].splitlines()[0]
    assert reason.startswith(f"{phase}: {type(failure).__name__}")
    assert "line " in reason, "the place in our code"
    assert "keeps serving" in outcome["error"]
    assert "blog" in logged[0]
    assert any("Traceback" in line for line in logged)
    assert deploys.state.live_activation() == live
    assert deploys.state.lock() is None
    assert deploys.vassals() == [live]
    assert deploys.status(outcome["release"]) == "failed"
    json.dumps(outcome).encode()
    deploys.next_run()
    assert "error" not in deploys.deploy("b" * 40)
    deploys.settled()


#: What undoes a failed deploy.
UNDOING = {
    "stop": (lifecycle, "stop"),
    "follow": (release_workers, "follow"),
    "mark": (AppState, "mark"),
    "prune": (abort, "prune"),
    "remember": (AppState, "remember"),
    "switch": (lifecycle, "switch"),
    "keep": (AppState, "save"),
}


@pytest.mark.parametrize("broken", UNDOING)
@pytest.mark.parametrize("step", ["prepare", "after_start", "after_switch"])
def test_a_later_failure_hides_no_earlier_one(
    deploys: Host, step: str, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploys.deploy("a" * 40)
    deploys.next_run()
    deploys.breaks[step] = NotHealthy("the first reason")
    target, name = UNDOING[broken]
    real = getattr(target, name)

    def fails_then(*args: Any, **more: Any) -> Any:
        if step in deploys.calls:
            raise UnicodeError("a later one")
        return real(*args, **more)

    monkeypatch.setattr(target, name, fails_then)
    outcome = deploys.deploy("b" * 40)
    assert "the first reason" in outcome["error"]
    assert deploys.state.lock() is None


@pytest.mark.parametrize("step", ["before_drain", "after_drain", "retire later", "drain blog@1"])
def test_a_failure_after_the_switch_does_not_make_the_live_release_a_bad_one(
    deploys: Host, step: str
) -> None:
    deploys.deploy("a" * 40)
    deploys.breaks[step] = CommandFailed(step, "x", "exit status 1", "")
    outcome = deploys.deploy("b" * 40)
    assert outcome["error"].startswith("drain: ")
    assert "is kept at" not in outcome["error"]
    live = deploys.state.live_release()
    assert live == outcome["release"]
    assert deploys.status(live) == "good"
    assert deploys.state.lock() is None
    deploys.next_run()
    deploys.deploy("c" * 40)
    found = deploys.state.previous_good()
    assert found is not None
    assert found.release == live


def test_what_a_failed_deploy_cannot_delete_is_said_beside_its_failure(
    deploys: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    for revision in "ab":
        deploys.breaks["prepare"] = ReleaseError("no")
        deploys.deploy(revision * 40)

    def stubborn(*paths: str) -> None:
        raise ReleaseError("rm: cannot remove 'x': Operation not permitted")

    monkeypatch.setattr(trees, "remove", stubborn)
    outcome = deploys.deploy("c" * 40)
    assert outcome["error"].startswith("prepare: no")
    assert "rm: cannot remove 'x': Operation not permitted" in str(outcome)
    assert deploys.state.lock() is None
