"""What is removed and what stays."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.files import trees
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.host.release_error import ReleaseError
from ansible_collections.emperor.stack.plugins.module_utils.release import cleaning
from ansible_collections.emperor.stack.plugins.module_utils.release.phases import in_turn
from ansible_collections.emperor.stack.plugins.module_utils.release.state import AppState

from .playing import PHASES_OF_A_DEPLOY, Host


def test_what_has_served_is_drained_before_a_later_run_cleans_it_up(deploys: Host) -> None:
    """A run that dies between its switch and its drain leaves what was warm before, which may have requests."""
    for letter in "ab":
        deploys.deploy(letter * 40, hooks={})
    deploys.revision = "c" * 40
    for phase in ("prepare", "migrate", "start", "switch"):
        deploys.phase(phase, hooks={})
    assert deploys.vassals() == ["blog@1", "blog@2", "blog@3"]
    deploys.next_run()
    deploys.revision = "d" * 40
    deploys.phase("prepare", hooks={})
    assert deploys.calls == ["drain blog@1", "prepare", "prepared"]
    assert deploys.vassals() == ["blog@2", "blog@3"]


def test_a_later_run_removes_what_a_killed_one_was_writing(deploys: Host) -> None:
    deploys.deploy("a" * 40)
    (release,) = [manifest.release for manifest in AppState("blog").manifests()]
    ended = subprocess.Popen(["true"])
    ended.wait()
    places = [
        f"{layout.state('blog')}/history.jsonl",
        f"{layout.release('blog', release)}/release.json",
        layout.active("blog"),
        f"{layout.vassals('a')}/blog@7.ini",
        layout.unit_file("app_blog_jobs@7.service"),
    ]
    left = [f"{place}.new-{ended.pid}" for place in places]
    writing = f"{places[0]}.new-{os.getppid()}"
    of_another = f"{layout.vassals('a')}/blog2@7.ini.new-{ended.pid}"
    for path in (*left, writing, of_another):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).write_text("half")
    deploys.deploy("b" * 40)
    assert [path for path in left if os.path.exists(path)] == []
    assert os.path.exists(writing) and os.path.exists(of_another)


def test_what_cannot_be_deleted_is_a_warning_and_tried_again(
    deploys: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploys.deploy("a" * 40)
    left = layout.release("blog", "20261122T090000-fffffff")
    os.makedirs(f"{left}/code")
    real = trees.remove

    def stubborn(*paths: str) -> None:
        if left in paths:
            raise ReleaseError("rm: cannot remove 'x': Operation not permitted")
        real(*paths)

    monkeypatch.setattr(trees, "remove", stubborn)
    outcome = in_turn(
        PHASES_OF_A_DEPLOY, [deploys.spec(revision="b" * 40, action="deploy")], deploys.options
    )["blog"]
    assert outcome["warnings"] == ["rm: cannot remove 'x': Operation not permitted"]
    assert "error" not in outcome
    monkeypatch.setattr(trees, "remove", real)
    deploys.next_run()
    assert "warnings" not in deploys.deploy("c" * 40)
    assert not os.path.exists(left)


def test_the_warm_one_is_the_youngest_by_number(
    deploys: Host, save: Any, run_activation: Callable[..., str]
) -> None:
    save("20261122T100000-a", status="good")
    for number in (9, 10, 11):
        run_activation("20261122T100000-a", f"blog@{number}", live=number == 11)
    assert cleaning.warm_activation(deploys.state) == "blog@10"


def test_old_releases_go(deploys: Host) -> None:
    for revision in "abcdef":
        deploys.deploy(revision * 40)
    assert [m.revision[0] for m in deploys.state.manifests()] == ["d", "e", "f"]
    deploys.settled()
