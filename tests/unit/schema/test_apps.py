"""What is derived from a checked app."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.front import traffic
from ansible_collections.emperor.stack.plugins.plugin_utils.schema import apps

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
    "websocket_drain": 30,
    "connection_idle": 3600,
    "memory": None,
    "disk": None,
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
    hooks.append("setup")
    assert apps.complete(SMALL) == {
        "name": "blog",
        "renamed_from": None,
        "domains": ["b.example", "www.b.example"],
        "source": {
            "git": None,
            "version": None,
            "key": None,
            "known_hosts": None,
            "path": "code",
            "archive": None,
            "checksum": None,
            "package": None,
            "subdirectory": None,
            "submodules": False,
        },
        "wsgi": "b:app",
        "asgi": None,
        "paste": None,
        "requirements": None,
        "pythonpath": [],
        "persistent_files": [],
        "extras": [],
        "groups": [],
        "python": None,
        "files": {},
        "build": [],
        "migrate": None,
        "migrate_on": "first",
        "fleet": {"canary": {"hosts": None, "seconds": 60, "requests": 100, "errors": "1%"}},
        "workers": {},
        "schedule": {},
        "server": "uwsgi",
        "hooks": {name: [] for name in hooks},
        "static": {},
        "persistent": [],
        "env": {},
        "secrets": [],
        "database": {"engine": None, "name": None, "extensions": [], "url": None},
        "redis": False,
        "connections": [],
        "health": {"path": "/", "status": [], "answers": 3, "timeout": 60},
        "web": {"processes": None, "threads": 2, "max_requests": 1000000, "preload": True},
        "on_demand": False,
        "idle": 300,
        "limits": LIMITS,
        "nginx": {"http": None, "server": None, "app": None},
        "tls": {
            "provider": "none",
            "files": {"certificate": None, "key": None},
            "challenge": "http-01",
            "dns_provider": None,
            "redirect": True,
            "hsts": {"max_age": None, "subdomains": False, "preload": False},
        },
        "path": "/",
        "default_site": False,
        "redirects": {},
        "allow": [],
        "deny": [],
        "users": {},
        "rate_limit": {"requests": None, "burst": 20, "connections": None},
        "cache": {"seconds": None, "size": "64m"},
        "headers": {},
        "static_max_age": 300,
        "private": {},
        "error_pages": {},
        "intercept_errors": False,
        "maintenance": {"allow": [], "retry_after": 300},
        "deploy_keys": [],
        "timeouts": apps.timeouts(60),
        "protocol": "uwsgi",
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
        {"url": "/media/", "path": "media", "directory": True, "kind": "static", "persistent": True},
        {
            "url": "/robots.txt",
            "path": "robots.txt",
            "directory": False,
            "kind": "static",
            "persistent": False,
        },
        {"url": "/static/", "path": "out/static", "directory": True, "kind": "static", "persistent": False},
        {"url": "/thumbs/", "path": "media/thumbs", "directory": True, "kind": "static", "persistent": True},
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


def test_sites() -> None:
    assert (
        apps.sites([LARGE])
        == apps.sites([apps.complete(LARGE)])
        == [
            {
                "name": "blog",
                "path": "/",
                "mounts": [],
                "traffic": traffic.of_app(apps.complete(LARGE)),
                "domains": ["b.example", "www.b.example"],
                "wildcards": [],
                "socket": "/srv/apps/blog/active/app.sock",
                "public": "/srv/apps/blog/active/release/public",
                "static": [
                    {"url": "/media/", "directory": True, "persistent": True, "kept": "media"},
                    {"url": "/robots.txt", "directory": False, "persistent": False, "kept": ""},
                    {"url": "/static/", "directory": True, "persistent": False, "kept": ""},
                    {"url": "/thumbs/", "directory": True, "persistent": True, "kept": "media/thumbs"},
                ],
                "body": "20m",
                "protocol": "uwsgi",
                "read_timeout": 105,
                "snippets": [],
                "own": [],
                "own_server": [],
                "default": False,
            }
        ]
    )


def test_directives_of_an_app_are_listed_by_place() -> None:
    app = {**SMALL, "nginx": {"app": "a;", "http": "h;"}}
    assert apps.sites([app])[0]["snippets"] == [
        {"app": SMALL["name"], "site": SMALL["name"], "place": "http", "text": "h;"},
        {"app": SMALL["name"], "site": SMALL["name"], "place": "app", "text": "a;"},
    ]


def test_directives_of_an_app_below_a_path_are_of_its_site() -> None:
    below = {**SMALL, "name": "below", "path": "/below/", "nginx": {"app": "a;"}}
    (site,) = apps.sites([SMALL, below])
    assert site["snippets"] == []
    (mount,) = site["mounts"]
    assert mount["snippets"] == [{"app": "below", "site": SMALL["name"], "place": "app", "text": "a;"}]


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
            "deploy_keys": [],
            "pushed": False,
            "size": {
                "web": {"processes": None, "threads": 2, "max_requests": 1000000, "preload": True},
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


SITE: dict[str, Any] = {
    "name": "blog",
    "domains": ["blog.example.com"],
    "wildcards": [],
    "socket": "/srv/apps/blog/active/app.sock",
    "public": "/srv/apps/blog/active/release/public",
    "static": [],
    "body": "20m",
    "read_timeout": 65,
    "mounts": [],
}


TLS = {"certificate": "/c/live.pem", "key": "/c/key.pem", "challenges": "", "hsts": ""}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": "../blog"}, "name: '../blog' is invalid"),
        ({"name": "Blog"}, "name: 'Blog' is invalid"),
        ({"domains": ["a>b"]}, "domains: 'a>b' is invalid"),
        ({"domains": ["*.example"]}, "domains: '*.example' is invalid"),
        ({"wildcards": ["*.a>b"]}, "wildcards: '*.a>b' is invalid"),
        ({"wildcards": ["a.example"]}, "wildcards: 'a.example' is invalid"),
        ({"domains": ["a.example\n"]}, "domains: 'a.example\\n' is invalid"),
        ({"domains": ["a.example", "a.example"]}, "domains: 'a.example' is there twice"),
        ({"socket": "relative.sock"}, "socket: 'relative.sock' is invalid"),
        ({"socket": "/run/x|y"}, "socket: '/run/x|y' is invalid"),
        ({"public": "/srv/../etc"}, "public: '/srv/../etc' is invalid"),
        ({"public": "/srv/${x}"}, "public: '/srv/${x}' is invalid"),
        ({"body": "20m\nProxyPass"}, "body: '20m\\nProxyPass' is invalid"),
        ({"static": [{"url": "/", "directory": True}]}, "url: '/' is invalid"),
        (
            {"static": [{"url": "/static", "directory": True}]},
            "url: '/static' is invalid",
        ),
        (
            {"static": [{"url": "/a/../b/", "directory": True}]},
            "url: '/a/../b/' is invalid",
        ),
        ({"static": [{"url": "/.git/", "directory": True}]}, "url: '/.git/' is invalid"),
        ({"static": [{"url": "/a b", "directory": False}]}, "url: '/a b' is invalid"),
        ({"static": [{"url": "/x/", "directory": False}]}, "url: '/x/' is invalid"),
        ({"tls": {**TLS, "certificate": "c.pem"}}, "certificate: 'c.pem' is invalid"),
        ({"tls": {**TLS, "key": "/k;}"}}, "key: '/k;}' is invalid"),
        ({"tls": {**TLS, "challenges": "/x y"}}, "challenges: '/x y' is invalid"),
        (
            {"tls": {**TLS, "hsts": "max-age=1; evil"}},
            "hsts: 'max-age=1; evil' is invalid",
        ),
    ],
)
def test_what_a_web_servers_configuration_could_not_hold_is_named(
    change: dict[str, Any], problem: str
) -> None:
    assert apps.site_problems([{**SITE, **change}]) == [problem]


def test_what_an_app_below_a_path_could_not_have_is_named_too() -> None:
    below = {**SITE, "name": "below", "public": "/srv/${x}"}
    assert apps.site_problems([{**SITE, "mounts": [below]}]) == ["public: '/srv/${x}' is invalid"]


def test_sites_of_two_apps_have_names_and_domains_of_their_own() -> None:
    assert apps.site_problems([SITE, {**SITE, "name": "b-2", "domains": ["b.example"], "body": "0"}]) == []
    assert apps.site_problems([SITE, SITE]) == [
        "name: 'blog' is there twice",
        "domains: 'blog.example.com' is there twice",
    ]
    assert apps.site_problems(apps.sites([LARGE])) == []
    assert apps.site_problems([{**SITE, "tls": TLS}]) == []


def test_only_apps_with_tls_have_a_certificate() -> None:
    acme = {"provider": "acme", "hsts": {"max_age": 0}}
    secured = {**SMALL, "name": "shop", "domains": ["shop.example"], "tls": acme}
    plain, site = apps.sites([SMALL, secured])
    assert "tls" not in plain
    assert site["tls"] == {
        "certificate": "/var/lib/emperor-stack/tls/apps/shop/live/certificate.pem",
        "key": "/var/lib/emperor-stack/tls/apps/shop/live/key.pem",
        "challenges": "/var/lib/emperor-stack/challenges",
        "redirect": True,
        "hsts": "max-age=0",
    }
    assert [app["name"] for app in apps.tls_apps([SMALL, secured])] == ["shop"]


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({}, ""),
        ({"max_age": 63072000}, "max-age=63072000"),
        ({"max_age": 31536000, "subdomains": True}, "max-age=31536000; includeSubDomains"),
        (
            {"max_age": 63072000, "subdomains": True, "preload": True},
            "max-age=63072000; includeSubDomains; preload",
        ),
        ({"subdomains": True}, ""),
    ],
)
def test_hsts_is_said_only_when_it_is_meant(declared: dict[str, Any], said: str) -> None:
    app = {**SMALL, "tls": {"provider": "self_signed", "hsts": declared}}
    assert apps.sites([app])[0]["tls"]["hsts"] == said


def test_nothing_is_derived_for_an_absent_app() -> None:
    gone = {"name": "gone", "state": "absent"}
    for derive in (apps.complete_all, apps.sites, apps.app_users, apps.app_slices):
        assert [one["name"] for one in derive([gone, {**SMALL, "state": "present"}])] == ["blog"]
    assert apps.longest_request_timeout([{**LARGE, "state": "absent"}]) == 60
    assert apps.absent_apps([gone, SMALL]) == [{"name": "gone"}]
    assert apps.absent_apps(None) == []


def test_renamed_apps() -> None:
    assert apps.renamed_apps([SMALL, {**LARGE, "renamed_from": "diary"}]) == [
        {"name": "diary", "successor": "blog"}
    ]
    assert apps.renamed_apps([{"name": "a", "state": "absent", "renamed_from": "b"}]) == []


def test_the_first_of_several_directories_is_published_last() -> None:
    """What is published later replaces files of the same name."""
    app = {**SMALL, "static": {"/static/": ["theme", "static"], "/x/": "x"}}
    completed = apps.complete(app)
    assert [item["path"] for item in completed["static_files"]] == ["static", "theme", "x"]
    assert [item["url"] for item in apps.sites([app])[0]["static"]] == ["/static/", "/x/"]
    assert apps.complete(completed) == completed


def test_a_persistent_file_has_a_directory_of_its_own() -> None:
    completed = apps.complete({**SMALL, "persistent": ["media"], "persistent_files": ["db.sqlite3"]})
    assert completed["persistent_directories"] == [
        {"path": "media", "served": False},
        {"path": "db.sqlite3", "served": False},
    ]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (None, []),
        ("uwsgi_buffering off;\nuwsgi_read_timeout 1h;", ["uwsgi_buffering", "uwsgi_read_timeout"]),
        ("if ($x) { uwsgi_buffering off; }", ["if"]),
        ("# uwsgi_buffering off;", []),
    ],
)
def test_what_an_apps_own_directives_set(text: str | None, names: list[str]) -> None:
    assert apps.sites([{**SMALL, "nginx": {"app": text}}])[0]["own"] == names
    assert apps.sites([{**SMALL, "nginx": {"server": text}}])[0]["own_server"] == names
