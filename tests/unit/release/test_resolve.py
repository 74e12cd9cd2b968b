"""A version is asked for once, by the first host of an app, and is one commit on all of its hosts."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.release import plan, resolve
from ansible_collections.emperor.stack.plugins.plugin_utils.release.shared import Shared

from .playing import Host

COMMIT = "c" * 40


@pytest.mark.parametrize(
    ("url", "version", "asked"),
    [
        ("https://git.example.com/blog.git", "main", True),
        ("ssh://git@git.example.com/blog.git", "v1.5", True),
        ("git@git.example.com:team/blog.git", "v1.5", True),
        ("https://git.example.com/blog.git", COMMIT, False),
        # Each host has its own.
        ("file:///srv/git/blog.git", "main", False),
        ("/srv/git/blog.git", "main", False),
        ("./a:b/blog.git", "main", False),
        (None, None, False),
    ],
)
def test_branches_and_tags_of_what_all_hosts_reach_are_asked_for(
    url: str | None, version: str | None, asked: bool
) -> None:
    assert resolve.is_asked_for({"git": url, "version": version}) is asked


SOURCE = {"git": "https://git.example.com/blog.git", "version": "main"}


def test_the_first_host_asks_and_all_are_told() -> None:
    app: Any = {"name": "blog", "source": SOURCE, "migrate_on": "each"}
    own: Any = {"name": "wiki", "source": {"path": "wiki"}, "migrate_on": "each"}
    verdict: Any = {
        "apps": {"blog": ["web1", "web2"], "wiki": ["web1"]},
        "commits": {"blog": COMMIT, "wiki": COMMIT},
    }
    assert Shared("web1", verdict).concerned([app, own], ["resolve"]) == [app]
    assert Shared("web2", verdict).concerned([app, own], ["resolve"]) == []
    specs: Any = [{}, {}]
    Shared("web2", verdict).told(specs, [app, own])
    assert specs == [{"commit": COMMIT}, {}]


def test_a_host_that_is_told_the_commit_asks_nobody(deploys: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def resolve_git(source: Any, key: str | None) -> str:
        asked.append(source["version"])
        return COMMIT

    monkeypatch.setattr(resolve, "resolve_git", resolve_git)
    monkeypatch.setattr(plan, "resolve_git", resolve_git)
    monkeypatch.setattr(resolve, "GIT", "/bin/sh")
    assert deploys.phase("resolve", source=SOURCE)["commit"] == COMMIT
    assert asked == ["main"]
    assert deploys.phase("plan", source=SOURCE, digest=None, commit="d" * 40)["revision"] == "d" * 40
    assert asked == ["main"]
    assert deploys.phase("plan", source=SOURCE, digest=None)["revision"] == COMMIT
    assert asked == ["main", "main"]
    # It is installed later in this run.
    monkeypatch.setattr(resolve, "GIT", "/missing")
    assert "commit" not in deploys.phase("resolve", source=SOURCE)
