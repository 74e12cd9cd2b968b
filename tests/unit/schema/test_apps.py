"""What is derived from a checked app."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils import apps

SMALL = {
    "name": "blog",
    "domains": ["b.example", "www.b.example"],
    "source": {"path": "code"},
    "wsgi": "b:app",
}
LARGE: dict[str, Any] = {
    **SMALL,
    "static": {
        "/static/": "out/static/",
        "/media/": "media",
        "/thumbs/": "media/thumbs",
        "/robots.txt": "robots.txt",
    },
    "persistent": ["media/", "mediax", "private"],
    "limits": {"request_timeout": 100},
    "hooks": {"after_switch": ["x"]},
    "env": {"A": "b"},
}


LIMITS = {
    "body": "20m",
    "request_timeout": 60,
    "memory": None,
    "cpu": None,
    "tasks": 512,
    "open_files": 4096,
}


def test_every_default() -> None:
    hooks = [
        f"{when}_{phase}"
        for phase in ("prepare", "migrate", "start", "switch", "drain")
        for when in ("before", "after")
    ]
    assert apps.complete(SMALL) == {
        "name": "blog",
        "renamed_from": None,
        "domains": ["b.example", "www.b.example"],
        "source": {"git": None, "version": None, "key": None, "known_hosts": None, "path": "code"},
        "wsgi": "b:app",
        "paste": None,
        "requirements": None,
        "build": [],
        "migrate": None,
        "hooks": {name: [] for name in hooks},
        "static": {},
        "persistent": [],
        "env": {},
        "secrets": [],
        "health": {"path": "/", "status": [], "answers": 3, "timeout": 60},
        "web": {"processes": None, "threads": 2},
        "server": "uwsgi",
        "workers": {},
        "schedule": {},
        "on_demand": False,
        "idle": 300,
        "limits": LIMITS,
        "timeouts": apps.timeouts(60),
        "static_files": [],
        "persistent_directories": [],
    }


@pytest.mark.parametrize("app", [SMALL, LARGE])
def test_completing_twice_changes_nothing(app: dict[str, Any]) -> None:
    assert apps.complete(apps.complete(app)) == apps.complete(app)


def test_what_is_given_wins_over_defaults() -> None:
    completed = apps.complete(LARGE)
    assert completed["limits"] == {**LIMITS, "request_timeout": 100}
    assert completed["hooks"]["after_switch"] == ["x"]
    assert completed["env"] == {"A": "b"}


def test_completed_apps_share_nothing() -> None:
    first, second = apps.complete_all([SMALL, SMALL])
    first["hooks"]["after_switch"].append("x")
    first["env"]["A"] = "b"
    assert second == apps.complete(SMALL)


def test_static_files_know_whether_they_outlive_releases() -> None:
    assert apps.complete(LARGE)["static_files"] == [
        {"url": "/media/", "path": "media", "directory": True, "persistent": True},
        {"url": "/robots.txt", "path": "robots.txt", "directory": False, "persistent": False},
        {"url": "/static/", "path": "out/static", "directory": True, "persistent": False},
        {"url": "/thumbs/", "path": "media/thumbs", "directory": True, "persistent": True},
    ]


def test_a_name_that_begins_alike_is_not_inside() -> None:
    completed = apps.complete({**SMALL, "static": {"/old/": "media-old"}, "persistent": ["media"]})
    assert completed["static_files"][0]["persistent"] is False
    assert completed["persistent_directories"] == [{"path": "media", "served": False}]


def test_each_timeout_outlasts_the_one_inside_it() -> None:
    assert apps.timeouts(60) == {
        "harakiri": 60,
        "nginx_read": 65,
        "worker_reload_mercy": 65,
        "reload_mercy": 80,
        "curse_tolerance": 90,
        "stop": 100,
    }
    steps = list(apps.timeouts(7).values())
    assert steps == sorted(steps)


def test_nginx_sites() -> None:
    assert (
        apps.nginx_sites([LARGE])
        == apps.nginx_sites([apps.complete(LARGE)])
        == [
            {
                "name": "blog",
                "domains": ["b.example", "www.b.example"],
                "socket": "/srv/apps/blog/active/app.sock",
                "public": "/srv/apps/blog/active/release/public",
                "static": [
                    {"url": "/media/", "directory": True, "persistent": True},
                    {"url": "/robots.txt", "directory": False, "persistent": False},
                    {"url": "/static/", "directory": True, "persistent": False},
                    {"url": "/thumbs/", "directory": True, "persistent": True},
                ],
                "body": "20m",
                "read_timeout": 105,
            }
        ]
    )


def test_app_users() -> None:
    """`mediax` is not served because `media` is."""
    assert apps.app_users([LARGE]) == [
        {
            "name": "blog",
            "renamed_from": None,
            "persistent": [
                {"path": "media", "served": True},
                {"path": "mediax", "served": False},
                {"path": "private", "served": False},
            ],
            "size": {
                "web": {"processes": None, "threads": 2},
                "limits": {**LIMITS, "request_timeout": 100},
                "on_demand": False,
                "workers": {},
            },
        }
    ]


def test_a_slice_has_no_hyphen_but_its_own() -> None:
    (found,) = apps.app_slices([{**SMALL, "name": "my-app"}])
    assert found == {"name": "my-app", "unit": "apps-my\\x2dapp.slice", "limits": LIMITS}


@pytest.mark.parametrize(
    ("declared", "seconds"), [(None, 60), ([], 60), ([SMALL], 60), ([SMALL, LARGE], 100)]
)
def test_longest_request_timeout(declared: list[dict[str, Any]] | None, seconds: int) -> None:
    assert apps.longest_request_timeout(declared) == seconds


def test_nothing_is_derived_for_an_absent_app() -> None:
    gone = {"name": "gone", "state": "absent"}
    for derive in (apps.complete_all, apps.nginx_sites, apps.app_users, apps.app_slices):
        assert [one["name"] for one in derive([gone, {**SMALL, "state": "present"}])] == ["blog"]
    assert apps.longest_request_timeout([{**LARGE, "state": "absent"}]) == 60
    assert apps.absent_apps([gone, SMALL]) == [{"name": "gone"}]
    assert apps.absent_apps(None) == []


def test_renamed_apps() -> None:
    assert apps.renamed_apps([SMALL, {**LARGE, "renamed_from": "diary"}]) == [
        {"name": "diary", "successor": "blog"}
    ]
    assert apps.renamed_apps([{"name": "a", "state": "absent", "renamed_from": "b"}]) == []
