"""Problems of whole apps and of the whole inventory, with the exact place, reason and fix."""

from __future__ import annotations

import copy
import datetime
import time
from typing import Any

import pytest
import yaml
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.faults import Unresolved, yaml_text
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.fields.app import APP
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.problems.found import (
    Controller,
    HostApps,
    Problem,
)
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.problems.inventory import (
    app_count,
    problems,
    shared_apps,
)
from hypothesis import given
from hypothesis import strategies as st

FILES = {
    "/bundle/code/production.ini",
    "/bundle/code/requirements.txt",
    "/bundle/secrets/key",
    "/bundle/templates/blog.ini.j2",
    "/bundle/secrets/blog.crt",
    "/bundle/secrets/blog.key",
}
CONTROLLER = Controller("/bundle", {"/bundle/code"}.__contains__, FILES.__contains__)
NOTHING: Any = object()

BLOG: dict[str, Any] = {
    "name": "blog",
    "domains": ["blog.example.com", "www.blog.example.com"],
    "source": {"path": "code"},
    "wsgi": "blog.wsgi:application",
}
ASGI: dict[str, Any] = {"wsgi": None, "asgi": "app.main:app"}
GIT = {"git": "https://git.example.com/team/blog.git", "version": "v1.4.0"}
FULL: dict[str, Any] = {
    **BLOG,
    "source": {
        "git": "https://git.example.com/blog.git",
        "version": "v1",
        "key": "secrets/key",
        "known_hosts": "a b c",
    },
    "requirements": "requirements.txt",
    "python": "3.12",
    "files": {"config/blog.ini": "templates/blog.ini.j2"},
    "build": ["make"],
    "migrate": "python manage.py migrate",
    "hooks": {"after_switch": ["make warm"]},
    "static": {
        "/static/": "staticfiles",
        "/media/": "media/",
        "/thumbs/": "media/thumbs",
        "/robots.txt": "web/robots.txt",
    },
    "persistent": ["media", "uploads"],
    "env": {"A": "1", "B": "two\nlines"},
    "secrets": ["KEY"],
    "health": {"path": "/healthz", "status": [200, 301], "answers": 1, "timeout": 5},
    "workers": {
        "jobs": {"command": "x", "count": 2, "stop_signal": "INT", "stop_timeout": 5, "overlap": False}
    },
    "schedule": {
        "night": {"command": "x", "at": "03:00", "missed": "skip", "timeout": 5},
        "often": {"command": "x", "every": "5m"},
    },
    "server": "gunicorn",
    "web": {"processes": 1, "threads": 1},
    "limits": {"body": "1m", "request_timeout": 10},
    "tls": {
        "provider": "acme",
        "challenge": "dns-01",
        "dns_provider": "hetzner",
        "redirect": False,
        "hsts": {"max_age": 63072000, "subdomains": True, "preload": True},
    },
}
GIT = {"git": "https://git.example.com/blog.git", "version": "v1"}


def found(*apps: Any, secrets: Any = NOTHING, variables: frozenset[str] = frozenset()) -> list[Problem]:
    host = HostApps(list(apps), {} if secrets is NOTHING else secrets, variables)
    return problems({"web1": host}, CONTROLLER)


def changed(where: str, value: Any) -> dict[str, Any]:
    app = copy.deepcopy(BLOG)
    *above, last = where.split(".")
    inner = app
    for name in above:
        inner = inner.setdefault(name, {})
    if value is NOTHING:
        del inner[last]
    else:
        inner[last] = value
    return app


def test_good_apps_have_no_problem() -> None:
    assert found(BLOG) == []
    assert found(FULL, secrets={"blog": {"KEY": "x"}}) == []


def test_a_worker_and_a_scheduled_command_have_different_names() -> None:
    app = {**BLOG, "workers": {"jobs": {"command": "x"}}, "schedule": {"jobs": JOB, "other": JOB}}
    (problem,) = found(app)
    assert (problem.where, problem.reason, problem.fix) == (
        "python_apps[0] (blog).schedule.jobs",
        "a worker has this name",
        "rename one of the two",
    )


@pytest.mark.parametrize(
    ("given", "place", "reason", "fix"),
    [
        ({"on_demand": True, "server": "gunicorn"}, "on_demand", "gunicorn cannot sleep", "server: uwsgi"),
        (
            {"limits": {"websocket_drain": 5}},
            "limits.websocket_drain",
            "`websocket_drain` applies to apps with `asgi`",
            "remove websocket_drain",
        ),
        (
            {"limits": {"connection_idle": 60}},
            "limits.connection_idle",
            "a WSGI app has no WebSockets",
            "remove connection_idle",
        ),
        (
            {**ASGI, "server": "uwsgi"},
            "server",
            "uWSGI runs no ASGI apps: an app with `asgi` is served by gunicorn's own ASGI worker",
            "remove server",
        ),
        (
            {**ASGI, "web": {"threads": 2}},
            "web.threads",
            "`threads` has no effect on an app with `asgi`",
            "remove threads",
        ),
        (
            {**ASGI, "on_demand": True},
            "on_demand",
            "it runs uWSGI, which runs no ASGI apps",
            "remove on_demand",
        ),
        (
            {**ASGI, "on_demand": True, "server": "gunicorn"},
            "on_demand",
            "it runs uWSGI, which runs no ASGI apps",
            "remove on_demand",
        ),
        ({"idle": 60}, "idle", "`idle` has no effect without `on_demand`", "on_demand: true"),
        ({"idle": 60, "on_demand": False}, "idle", "the app never sleeps", "on_demand: true"),
    ],
)
def test_sleep_that_cannot_be_meant(given: dict[str, Any], place: str, reason: str, fix: str) -> None:
    [problem] = found({**BLOG, **given})
    assert problem.where == f"python_apps[0] (blog).{place}"
    assert reason in problem.reason
    assert problem.fix.startswith(fix)


def test_an_app_that_sleeps() -> None:
    assert found({**BLOG, "idle": 60, "on_demand": True, "server": "uwsgi"}) == []


def test_null_means_not_given() -> None:
    optional = {field.name: None for field in APP.fields if field.name not in BLOG}
    assert found({**BLOG, **optional}, secrets=None) == []


NAMES = (
    "name, state, renamed_from, domains, source, wsgi, asgi, paste, pythonpath, requirements, extras, groups, python, "
    "files, build, migrate, migrate_on, fleet, workers, "
    "schedule, hooks, static, persistent, persistent_files, env, secrets, database, redis, health, server, web, "
    "on_demand, idle, limits, tls, path, default_site, "
    "redirects, allow, deny, users, rate_limit, cache, headers, static_max_age, private, error_pages, intercept_errors, "
    "maintenance, deploy_keys, nginx"
)
BOTH = "wsgi: blog.wsgi:application\n# or\npaste: production.ini"
NUMBER = "but must be a whole number from 1 to"

JOB = {"command": "x", "every": "5m"}

ONE_FIELD = [
    # maps of sections
    (
        "workers.jobs",
        {"command": "x", "cuont": 2},
        ".workers.jobs",
        'the key "cuont" is unknown',
        "did you mean count?",
    ),
    (
        "workers.jobs",
        {},
        ".workers.jobs",
        "`command` is missing",
        "command: celery --app blog worker",
    ),
    (
        "workers.jobs",
        "x",
        ".workers.jobs",
        "this is a text, but must be a map",
        "jobs:\n  command: celery --app blog worker",
    ),
    (
        "workers",
        ["x"],
        ".workers",
        "this is a list, but must be a map",
        "workers:\n  jobs: {command: celery --app blog worker}",
    ),
    (
        "workers",
        {"web": {"command": "x"}},
        ".workers.web",
        '"web": this name is reserved for another unit of the app',
        "web-1: …",
    ),
    (
        "workers.jobs",
        {"command": "x", "stop_signal": "SIGINT"},
        ".workers.jobs.stop_signal",
        '"SIGINT" is invalid: it must be TERM or INT or QUIT or HUP or USR1 or USR2',
        "stop_signal: INT",
    ),
    (
        "workers.jobs",
        {"command": "x", "overlap": "no"},
        ".workers.jobs.overlap",
        "this is a text, but must be true or false, without quotes",
        "overlap: false",
    ),
    ("server", 5, ".server", "this is the number 5, but must be uwsgi or gunicorn", "server: uwsgi"),
    (
        "server",
        "gunicron",
        ".server",
        '"gunicron" is invalid: it must be uwsgi or gunicorn',
        "server: gunicorn",
    ),
    (
        "schedule.night",
        {**JOB, "at": "03:00"},
        ".schedule.night",
        "`at` and `every` exclude each other, but both are given",
        'keep one of them:\nat: "Mon..Fri 03:00 Europe/Berlin"\n# or\nevery: 15m',
    ),
    (
        "schedule.night",
        {**JOB, "missed": "run"},
        ".schedule.night.missed",
        "`missed` applies to `at` only: with `every` the next run does not depend on the time of day",
        "remove missed",
    ),
    # 12:30 without quotes, as YAML reads it
    (
        "schedule.night",
        {"command": "x", "at": 750},
        ".schedule.night.at",
        "this is the number 750, but must be a text",
        'at: "03:00"',
    ),
    # required, unknown, exactly one
    ("name", NOTHING, "python_apps[0]", "`name` is missing", "name: blog"),
    (
        "domains",
        None,
        "python_apps[0] (blog)",
        "`domains` is missing",
        "domains: [blog.example.com, www.blog.example.com]",
    ),
    ("domain", [], "python_apps[0] (blog)", 'the key "domain" is unknown', "did you mean domains?"),
    (
        "processes",
        4,
        "python_apps[0] (blog)",
        'the key "processes" is unknown',
        "did you mean web.processes?",
    ),
    ("zzz", 1, "python_apps[0] (blog)", 'the key "zzz" is unknown', f"known: {NAMES}"),
    ("web.threds", 4, "python_apps[0] (blog).web", 'the key "threds" is unknown', "did you mean threads?"),
    (
        "hooks.after_swich",
        [],
        "python_apps[0] (blog).hooks",
        'the key "after_swich" is unknown',
        "did you mean after_switch?",
    ),
    ("source.pth", "x", "python_apps[0] (blog).source", 'the key "pth" is unknown', "did you mean path?"),
    (
        "wsgi",
        NOTHING,
        "python_apps[0] (blog)",
        "exactly one of `wsgi`, `asgi` and `paste` is required, but none is given",
        BOTH.replace("paste", "asgi: app.main:app\n# or\npaste"),
    ),
    (
        "paste",
        "production.ini",
        "python_apps[0] (blog)",
        "`wsgi` and `paste` exclude each other, but both are given",
        f"keep one of them:\n{BOTH}",
    ),
    # types
    ("domains", "a.example", ".domains", "this is a text, but must be a list", "domains: [a.example]"),
    (
        "domains",
        [],
        ".domains",
        "the list is empty, but needs at least one entry",
        "domains: [blog.example.com]",
    ),
    ("domains", [5], ".domains[0]", "this is the number 5, but must be a text", "- blog.example.com"),
    ("build", "make all", ".build", "this is a text, but must be a list", "build: […]"),
    (
        "build",
        [["a"]],
        ".build[0]",
        "this is a list, but must be a text",
        "- python manage.py check --deploy",
    ),
    (
        "env",
        ["A=1"],
        ".env",
        "this is a list, but must be a map",
        "env:\n  DJANGO_SETTINGS_MODULE: blog.settings",
    ),
    ("env", {"A": 8000}, ".env.A", "this is the number 8000, but must be a text: quote it", 'A: "8000"'),
    (
        "env",
        {"A": True},
        ".env.A",
        "this is the boolean true (YAML also reads unquoted yes, no, on and off as booleans), but must be a text: "
        "quote it",
        'A: "true"',
    ),
    (
        "env",
        {False: "x"},
        ".env",
        "one of its keys is the boolean false (YAML also reads unquoted yes, no, on and off as booleans), but must "
        "be a text: quote it",
        '"False": …',
    ),
    (
        "source",
        {**GIT, "version": 1.1},
        ".source.version",
        "this is the number 1.1 (YAML reads an unquoted 1.10 as 1.1), but must be a text: quote it",
        'version: "1.1"',
    ),
    (
        "source",
        {**GIT, "version": datetime.date(2026, 11, 22)},
        ".source.version",
        "this is the date 2026-11-22 (YAML reads an unquoted 2026-11-22 as a date), but must be a text: quote it",
        'version: "2026-11-22"',
    ),
    (
        "source",
        "code",
        ".source",
        "this is a text, but must be a map",
        "source:\n  git: https://git.example.com/team/blog.git",
    ),
    (
        "web.processes",
        "4",
        ".web.processes",
        f'this is the text "4", {NUMBER} 256: write it without quotes (or end the template with | int)',
        "processes: 4",
    ),
    (
        "web.processes",
        True,
        ".web.processes",
        f"this is the boolean true (YAML also reads unquoted yes, no, on and off as booleans), {NUMBER} 256",
        "processes: 1",
    ),
    (
        "web.threads",
        0,
        ".web.threads",
        "0 is out of range: it must be a whole number from 1 to 256",
        "threads: 1",
    ),
    (
        "limits.request_timeout",
        9000,
        ".limits.request_timeout",
        "9000 is out of range: it must be a whole number from 1 to 3600",
        "request_timeout: 3600",
    ),
    ("health.status", 200, ".health.status", "this is the number 200, but must be a list", "status: [200]"),
    (
        "health.status",
        [99],
        ".health.status[0]",
        "99 is out of range: it must be a whole number from 100 to 599",
        "- 100",
    ),
    (
        "limits.body",
        20,
        ".limits.body",
        "this is the number 20, but must be a text: quote it",
        'body: "20"',
    ),
    # single texts, with the better one as YAML
    (
        "limits.body",
        "20MB",
        ".limits.body",
        '"20MB": it must be a number with k, m or g, as in 20m',
        'body: "20m"',
    ),
    (
        "domains",
        ["a.example", "Blog.Example"],
        ".domains[1]",
        '"Blog.Example": write host names in lowercase',
        "- blog.example",
    ),
    (
        "domains",
        ["a.example", "a.example"],
        ".domains[1]",
        "the same as entry [0] of this list",
        "remove one of the two",
    ),
    (
        "env",
        {"MY-KEY": "x"},
        '.env["MY-KEY"]',
        '"MY-KEY": the name of an environment variable consists of letters, digits and underscores, and '
        "does not start with a digit",
        "MY_KEY: …",
    ),
    (
        "env",
        {"PATH": "x"},
        ".env.PATH",
        '"PATH": PATH is set by Emperor Stack, and an app cannot change it',
        "remove it, or choose a name such as DJANGO_SETTINGS_MODULE",
    ),
    (
        "static",
        {"/s;": "a"},
        '.static["/s;"]',
        "\"/s;\": the character ';' is not allowed: write a plain path (no pattern) of letters, "
        "digits and . _ ~ @ + -",
        "remove it, or choose a name such as /static/",
    ),
    # between fields
    (
        "source",
        {"git": "https://git.example.com/blog.git"},
        ".source",
        "`version` is missing: name the tag, branch or commit to deploy",
        "version: v1.4.0",
    ),
    (
        "source",
        {"path": "code", "version": "v1"},
        ".source.version",
        "`version` applies to `git`, and has no effect with `path`",
        "remove version",
    ),
    (
        "source",
        {"path": "cod"},
        ".source.path",
        "there is no directory /bundle/cod on the controller",
        "create it there, or correct the path (a relative path starts at the root of this repository)",
    ),
    (
        "source",
        {**GIT, "key": "none"},
        ".source.key",
        "there is no file /bundle/none on the controller",
        "create it there, or correct the path (a relative path starts at the root of this repository)",
    ),
    (
        "requirements",
        "reqs.txt",
        ".requirements",
        "there is no file reqs.txt in /bundle/code",
        "correct requirements, or add the file to the code",
    ),
    (
        "static",
        {"/a": "b/"},
        '.static["/a"]',
        '"/a" is the URL of a single file, and "b/" is a directory',
        "/a/: b/",
    ),
    (
        "static",
        {"/a/": "b", "/a/c/": "d"},
        '.static["/a/c/"]',
        'it overlaps with "/a/", so one URL would mean two files',
        "choose a URL that is not below /a/",
    ),
    (
        "static",
        {"/a/": "b", "/a": "d"},
        '.static["/a/"]',
        'it overlaps with "/a", so one URL would mean two files',
        "choose a URL that is not below /a",
    ),
    (
        "persistent",
        ["a", "a/b"],
        ".persistent[1]",
        '"a/b" lies inside "a", which is persistent already',
        "remove a/b",
    ),
]


@pytest.mark.parametrize(("where", "value", "place", "reason", "fix"), ONE_FIELD)
def test_one_wrong_field(where: str, value: Any, place: str, reason: str, fix: str) -> None:
    place = place if place.startswith("python_apps") else f"python_apps[0] (blog){place}"
    assert found(changed(where, value)) == [Problem(("web1",), place, reason, fix)]


ARCHIVE = {"archive": "https://example.com/a.tgz", "checksum": f"sha256:{'0' * 64}"}


@pytest.mark.parametrize(
    ("changes", "place", "reason", "fix"),
    [
        (
            {"source": {"archive": "https://example.com/a.tgz"}},
            ".source",
            "`checksum` is missing: an archive is deployed only if its checksum matches",
            "checksum: sha256:…    # what `sha256sum FILE` prints",
        ),
        (
            {"source": {**ARCHIVE, "archive": "dist/a.tgz"}},
            ".source.archive",
            "there is no file /bundle/dist/a.tgz on the controller",
            "put it there, or correct the path (a relative path starts at the root of this repository)",
        ),
        (
            {"source": {**ARCHIVE, "submodules": True}},
            ".source.submodules",
            "`submodules` applies to `git`, and has no effect with `archive`",
            "remove submodules",
        ),
        (
            {"source": {"package": "kinto==25.1.0", "subdirectory": "x"}},
            ".source.subdirectory",
            "`subdirectory` applies to `git`, `path` and `archive`, and has no effect with `package`",
            "remove subdirectory",
        ),
        (
            {"source": {**GIT, "checksum": f"sha256:{'0' * 64}"}},
            ".source.checksum",
            "`checksum` applies to `archive`, and has no effect with `git`",
            "remove checksum",
        ),
        (
            {"source": {**GIT, "submodules": "yes"}},
            ".source.submodules",
            "this is a text, but must be true or false, without quotes",
            "submodules: true",
        ),
        (
            {"source": {"path": "code", "subdirectory": "inner"}},
            ".source.subdirectory",
            "there is no directory /bundle/code/inner on the controller",
            "correct subdirectory, or the path before it",
        ),
        (
            {"source": {"package": "kinto==25.1.0"}, "extras": ["postgresql"]},
            ".extras",
            "`extras` applies to files of the source, and has no effect with `package`",
            "package: kinto[postgresql]==25.1.0    # extras stand in brackets",
        ),
        (
            {"source": {"package": "kinto==25.1.0"}, "requirements": "pins.txt"},
            ".requirements",
            'the code of a package consists of `files` alone, and "pins.txt" is not one of them',
            "files: {pins.txt: templates/pins.txt.j2}",
        ),
        (
            {"files": {"a.ini": "templates/none.j2"}},
            '.files["a.ini"]',
            "there is no file /bundle/templates/none.j2 on the controller",
            "create it there, or correct the path (a relative path starts at the root of this repository)",
        ),
        (
            {"files": {"media/a.ini": "templates/blog.ini.j2"}, "persistent": ["media"]},
            '.files["media/a.ini"]',
            'it lies in the persistent directory "media", which outlives releases',
            "choose a path outside of it, or change persistent[0]",
        ),
        (
            {"files": {"a/b": "templates/blog.ini.j2", "a": "templates/blog.ini.j2"}},
            '.files["a/b"]',
            '"a" is a file already, and cannot be a directory',
            "rename one of them",
        ),
        (
            {"python": 3.11},
            ".python",
            "this is the number 3.11 (YAML reads an unquoted 1.10 as 1.1), but must be a text: quote it",
            'python: "3.11"',
        ),
    ],
)
def test_sources_and_files(changes: dict[str, Any], place: str, reason: str, fix: str) -> None:
    assert found({**BLOG, **changes}) == [Problem(("web1",), f"python_apps[0] (blog){place}", reason, fix)]


def test_what_files_bring_counts_as_code() -> None:
    rendered = {"files": {"pins.txt": "templates/blog.ini.j2"}, "requirements": "pins.txt"}
    for source in ({"package": "kinto==25.1.0"}, {"path": "code"}, ARCHIVE, {**GIT, "submodules": True}):
        assert found({**BLOG, **rendered, "source": source}) == []


def test_more_than_one_source() -> None:
    problem = found({**BLOG, "source": {**ARCHIVE, "path": "code", "package": "kinto==25.1.0"}})[0]
    assert problem.reason == "`path`, `archive` and `package` exclude each other, but all are given"
    assert found({**BLOG, "source": {}})[0].reason == (
        "exactly one of `git`, `path`, `archive` and `package` is required, but none is given"
    )


@pytest.mark.parametrize(
    ("tls", "place", "reason", "fix"),
    [
        (
            {"provider": "letsencrypt"},
            ".provider",
            '"letsencrypt" is invalid: it must be acme or files or self_signed or none',
            "provider: acme",
        ),
        ({"provider": True}, ".provider", "this is the boolean true (", "provider: acme"),
        (
            {"provider": "acme", "redirect": "no"},
            ".redirect",
            "this is a text, but must be true or false, without quotes",
            "redirect: false",
        ),
        (
            {"provider": "acme", "redirect": 1},
            ".redirect",
            "this is the number 1, but must be true or false, without quotes",
            "redirect: true",
        ),
        (
            {"provider": "files"},
            "",
            "`files` is missing: name the certificate and the key",
            "files: {certificate: ",
        ),
        (
            {"provider": "files", "files": {"certificate": "secrets/blog.crt"}},
            ".files",
            "`key` is missing",
            "files: {certificate: ",
        ),
        (
            {"provider": "files", "files": {"certificate": "secrets/no.crt", "key": "secrets/blog.key"}},
            ".files.certificate",
            "there is no file /bundle/secrets/no.crt on the controller",
            "create it there",
        ),
        (
            {"provider": "acme", "files": {"certificate": "secrets/blog.crt", "key": "secrets/blog.key"}},
            ".files",
            "`files` applies to `provider: files` only, but the provider is acme",
            "provider: files",
        ),
        (
            {"challenge": "dns-01"},
            ".challenge",
            "`challenge` applies to `provider: acme` only, but",
            "provider: acme",
        ),
        (
            {"provider": "acme", "challenge": "dns-01"},
            "",
            "`dns_provider` is missing: name the provider that gets the DNS record",
            "dns_provider: hetzner",
        ),
        (
            {"provider": "acme", "dns_provider": "hetzner"},
            ".dns_provider",
            "`dns_provider` has no effect without `challenge: dns-01`",
            "challenge: dns-01",
        ),
        (
            {"provider": "acme", "challenge": "dns-01", "dns_provider": "exec; rm"},
            ".dns_provider",
            '"exec; rm": it must be a name that `lego dnshelp` lists',
            "dns_provider: hetzner",
        ),
        ({"hsts": {"max_age": 60}}, ".hsts", "`hsts` has no effect without TLS", "provider: acme"),
        (
            {"provider": "acme", "hsts": {"max_age": 60, "preload": True}},
            ".hsts.preload",
            "browsers accept a domain for preloading only with subdomains",
            "hsts: {max_age: 63072000, subdomains: true, preload: true}",
        ),
    ],
)
def test_tls_that_cannot_be_meant(tls: dict[str, Any], place: str, reason: str, fix: str) -> None:
    [problem] = found({**BLOG, "tls": tls})
    assert problem.where == f"python_apps[0] (blog).tls{place}"
    assert problem.reason.startswith(reason)
    assert problem.fix.startswith(fix)


def test_wildcards() -> None:
    dns = {"provider": "acme", "challenge": "dns-01", "dns_provider": "hetzner"}
    for tls in ({"provider": "self_signed"}, dns):
        assert found({**BLOG, "domains": ["b.example", "*.b.example"], "tls": tls}) == []
    (first,) = found({**BLOG, "domains": ["*.b.example", "b.example"]})
    assert first.where == "python_apps[0] (blog).domains[0]"
    assert first.fix == 'domains: [b.example, "*.b.example"]'
    (proved,) = found({**BLOG, "domains": ["b.example", "*.b.example"], "tls": {"provider": "acme"}})
    assert proved.where == "python_apps[0] (blog).tls.challenge"
    assert proved.reason.startswith("authorities give a certificate for *.b.example only where a DNS record")
    assert proved.fix.startswith("challenge: dns-01, dns_provider: hetzner")


def test_certificates_from_the_controller() -> None:
    files = {"certificate": "secrets/blog.crt", "key": "secrets/blog.key"}
    assert found({**BLOG, "tls": {"provider": "files", "files": files}}) == []


def test_rules_between_fields() -> None:
    app = {
        **BLOG,
        "static": {"/data/": "data", "/static/": "s"},
        "persistent": ["data/up"],
        "health": {"path": "/static/ok"},
        "env": {"KEY": "x"},
        "secrets": ["KEY"],
    }
    assert [(p.where, p.reason) for p in found(app, secrets={"blog": {"KEY": "valuevalue"}})] == [
        (
            'python_apps[0] (blog).static["/data/"]',
            '"data" contains the persistent directory "data/up": releases replace one and keep the other',
        ),
        (
            "python_apps[0] (blog).health.path",
            '"/static/ok" is below "/static/", which nginx serves without the app',
        ),
        ("python_apps[0] (blog).env.KEY", "KEY is in `env` and in `secrets`"),
    ]


def test_not_a_list_of_maps() -> None:
    assert str(problems({"web1": HostApps({"blog": BLOG})}, CONTROLLER)[0]) == (
        "host web1: python_apps\n"
        "  reason: this is a map, but must be a list of apps\n"
        "  fix:\n"
        "    python_apps:\n"
        "      - name: blog\n"
        "        domains: [blog.example.com, www.blog.example.com]\n"
        '        source: {git: "https://git.example.com/team/blog.git", version: v1.4.0}\n'
        "        wsgi: blog.wsgi:application"
    )
    assert [p.reason for p in found("blog")] == ["this is a text, but must be a map"]


def test_unresolved_templates_are_problems_at_their_place() -> None:
    app = changed("domains", ["a.example", Unresolved("'brand' is undefined")])
    assert [(p.where, p.reason) for p in found(app, secrets={"blog": Unresolved("x")})] == [
        ("python_apps[0] (blog).domains[1]", "the template cannot be resolved: 'brand' is undefined"),
        ("vault_python_apps_secrets.blog", "the template cannot be resolved: x"),
    ]
    assert [p.where for p in problems({"web1": HostApps(Unresolved("x"), Unresolved("y"))}, CONTROLLER)] == [
        "python_apps",
        "vault_python_apps_secrets",
    ]


VAULT = "vault_python_apps_secrets"


@pytest.mark.parametrize(
    ("values", "place", "reason", "fix"),
    [
        (
            {},
            "python_apps[0] (blog).secrets[0]",
            f"SECRET_KEY has no value in {VAULT}.blog",
            f"{VAULT}:    # in a file encrypted by ansible-vault\n  blog:\n    SECRET_KEY: …",
        ),
        (
            {"blog": {"SECRET_KEY": "x", "OTHER_THING": "hidden-value"}},
            f"{VAULT}.blog.OTHER_THING",
            "there is a value, but the app does not list this name in its `secrets`",
            "secrets: [OTHER_THING]    # in the app, or remove the value",
        ),
        (
            {"blog": {"SECRET_KEY": ""}},
            f"{VAULT}.blog.SECRET_KEY",
            "it is empty",
            "SECRET_KEY: …    # in a file encrypted by ansible-vault",
        ),
        (
            {"blog": {"SECRET_KEY": 123456}},
            f"{VAULT}.blog.SECRET_KEY",
            "this is a number or a date, but must be a text",
            'SECRET_KEY: "…"    # with quotes',
        ),
        (
            {"blog": {"SECRET_KEY": "x"}, "blgo": {}},
            f"{VAULT}.blgo",
            "no host has an app with this name",
            "did you mean blog?",
        ),
        (
            {"blog": {"SECRET_KEY": "x"}, "zzzz": {}},
            f"{VAULT}.zzzz",
            "no host has an app with this name",
            "remove it, or add the app",
        ),
        (
            "one,two",
            VAULT,
            "this is a text, but must be a map of apps",
            f"{VAULT}:\n  blog:\n    SECRET_KEY: …",
        ),
    ],
)
def test_secrets(values: Any, place: str, reason: str, fix: str) -> None:
    listed = found({**BLOG, "secrets": ["SECRET_KEY"]}, secrets=values)
    assert Problem(("web1",), place, reason, fix) in listed
    assert len(listed) == 1 or not isinstance(values, dict)


def test_a_misspelt_secret_is_recognised() -> None:
    listed = found({**BLOG, "secrets": ["SECRET_KEY"]}, secrets={"blog": {"SECRT_KEY": "hidden-value"}})
    assert [(p.where, p.fix.splitlines()[-1].strip()) for p in listed] == [
        ("python_apps[0] (blog).secrets[0]", "SECRET_KEY: …"),
        (f"{VAULT}.blog.SECRT_KEY", "did you mean SECRET_KEY?"),
    ]


def test_secrets_of_an_app_on_another_host_are_fine() -> None:
    fleet = {"web1": HostApps([BLOG], {}), "web2": HostApps([], {"blog": {"X": "y"}})}
    assert problems(fleet, CONTROLLER) == []


def test_misspelt_variables() -> None:
    assert [
        str(p) for p in problems({"web1": HostApps(variables=frozenset({"python_app", "x"}))}, CONTROLLER)
    ] == [
        "host web1: python_app\n"
        "  reason: there is a variable python_app, and none python_apps\n"
        "  fix:    did you mean python_apps?"
    ]
    others = frozenset({"_python_apps", "python_apps_extra", "my_python_apps"})
    assert problems({"web1": HostApps(variables=others)}, CONTROLLER) == []
    assert problems({"web1": HostApps(variables=frozenset({"python_apps", "python_app"}))}, CONTROLLER) == []


# over hosts


def other(**changes: Any) -> dict[str, Any]:
    return {**BLOG, "name": "shop", "domains": ["shop.example.com"], **changes}


def test_one_app_on_many_hosts_is_no_clash() -> None:
    sized = {**BLOG, "web": {"processes": 8}, "env": {"NODE": "2"}}
    assert problems({"web1": HostApps([BLOG]), "web2": HostApps([other(), sized])}, CONTROLLER) == []
    fleet = {"web1": HostApps([BLOG]), "web2": HostApps([other(), sized])}
    assert app_count(fleet) == 2
    assert shared_apps(fleet) == {"blog": ["web1", "web2"]}
    assert shared_apps({"web1": HostApps([BLOG]), "web2": HostApps([{**BLOG, "state": "absent"}])}) == {}


def test_logins_that_could_deploy_nothing() -> None:
    key = f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5{'A' * 48}"
    keys = {
        "deploy_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJNjj7Eb4OTDwSxQFUCE28OoLcHVuCFgpzbHLcBSYVF7 ci"]
    }
    assert found({**BLOG, **keys, "source": GIT}) == []
    (one,) = found({**BLOG, **keys, "source": {"package": "kinto==1.0"}})
    assert one.where.endswith(".deploy_keys") and "only an app whose code comes from git" in one.reason
    (one,) = found({**BLOG, **keys, "source": GIT, "name": "a" * 26})
    assert "would have more than 32 characters" in one.reason
    assert one.fix == "shorten the name of the app to 25 characters"
    assert found({**BLOG, **keys, "source": GIT, "name": "a" * 25}) == []
    assert len(found({**BLOG, "source": GIT, "deploy_keys": [key, "nonsense"]})) == 1


def test_clashes() -> None:
    fleet = {
        "web1": HostApps([BLOG, BLOG, other(domains=["www.blog.example.com"])]),
        "web2": HostApps([{**BLOG, "migrate": "x", "build": ["y"]}, other(domains=["blog.example.com"])]),
    }
    assert [(p.place, p.reason) for p in problems(fleet, CONTROLLER)] == [
        (
            "host web1: python_apps[1] (blog).name",
            '"blog" is already the name of python_apps[0] (blog) on this host',
        ),
        (
            "host web2: python_apps[0] (blog)",
            "host web1 has a different app with this name; the two differ in: build, migrate",
        ),
        (
            "host web2: python_apps[1] (shop)",
            "host web1 has a different app with this name; the two differ in: domains",
        ),
        (
            "host web1: python_apps[2] (shop).domains[0]",
            '"www.blog.example.com" already leads to python_apps[0] (blog)',
        ),
        (
            "host web2: python_apps[1] (shop).domains[0]",
            '"blog.example.com" already leads to python_apps[0] (blog) on host web1',
        ),
    ]


def test_the_same_problem_is_listed_once() -> None:
    fleet = {f"web{number}": HostApps([changed("wsgi", "x y")]) for number in range(1, 6)}
    assert [p.place for p in problems(fleet, CONTROLLER)] == [
        "hosts web1, web2, web3 and 2 more: python_apps[0] (blog).wsgi"
    ]


def test_one_machine_under_two_names() -> None:
    fleet = {
        "web1": HostApps(machine="ssh 10.0.0.1"),
        "web2": HostApps(machine="ssh 10.0.0.1"),
        "web3": HostApps(machine="b"),
    }
    assert [str(p) for p in problems(fleet, CONTROLLER)] == [
        "hosts web1, web2: ansible_host\n"
        "  reason: they are one machine (ssh 10.0.0.1), so each would remove the other's apps\n"
        "  fix:    keep one of them, with all apps in its python_apps"
    ]


# no secret is shown, nothing crashes, and the fixes are YAML

SECRET = "S3cret\"\n-Value: of 'many' characters " + "x" * 90


@pytest.mark.parametrize("form", ["{}", "https://{}/", "Pre fix {}", "{}:80", "/{}"])
@pytest.mark.parametrize(
    "secret", [SECRET, "hunter2hunter2", "UPPER.Case.Value", "p1N8", "first line\n8th Line"]
)
def test_a_secret_carried_into_any_field_is_not_shown(form: str, secret: str) -> None:
    value = form.format(secret)
    app: dict[str, Any] = {field.name: value for field in APP.fields}
    apps = [
        app,
        {**FULL, "secrets": ["KEY", value], "domains": [value], "static": {value: value}, "env": {value: 1}},
    ]
    listed = "\n".join(str(p) for p in found(*apps, secrets={"blog": {"KEY": secret, "LOST": value}}))
    assert "blog" in listed
    for line in secret.splitlines():
        assert line[:12].lower() not in listed.lower()


def test_a_secret_of_asterisks_ends_too() -> None:
    apps = [{**FULL, "env": {"****": "x"}}]
    assert "env" in "\n".join(str(p) for p in found(*apps, secrets={"blog": {"KEY": "****"}}))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.dates()
    | st.just(Unresolved("u")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(APP.names) | st.integers() | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(APP.names), VALUES), VALUES, VALUES)
def test_nothing_crashes_the_check(change: dict[str, Any], apps: Any, secrets: Any) -> None:
    problems(
        {"web1": HostApps([{**FULL, **change}], secrets), "web2": HostApps(apps, {"blog": secrets})},
        CONTROLLER,
    )


@given(st.text())
def test_texts_in_fixes_are_read_back_from_yaml(text: str) -> None:
    if text.isprintable():
        assert yaml.safe_load(f"- {yaml_text(text)}") == [text]
        assert yaml.safe_load(f"[{yaml_text(text)}]") == [text]


@pytest.mark.parametrize("field", APP.fields, ids=lambda field: field.name)
def test_every_example_is_good(field: Any) -> None:
    asleep = {"on_demand": True, "server": None}
    exact = {
        "wsgi": {"paste": None},
        "paste": {"wsgi": None},
        "asgi": {"paste": None, "wsgi": None, "web": None},
        "on_demand": asleep,
        "idle": asleep,
        "intercept_errors": {"error_pages": {"404": "web/404.html"}, "build": ["make"]},
        "error_pages": {"build": ["make"]},
    }.get(field.name, {})
    app = {**FULL, "secrets": None, **exact, **yaml.safe_load(field.example)}
    app["source"] = {"git": "https://git.example.com/team/blog.git", "version": "v1.4.0"}
    values = {"blog": dict.fromkeys(app["secrets"] or (), "x")}
    values["blog"] |= dict.fromkeys(app.get("users", {}).values(), f"$6$salt${'a' * 86}")
    assert found(app, secrets=values) == []


def test_a_large_fleet_is_checked_in_a_moment() -> None:
    """A bound far above what it takes (0.1 s), to notice a check that became quadratic."""
    apps = [
        {**FULL, "name": f"app-{n}", "domains": [f"{n}.example.com", f"www.{n}.example.com"]}
        for n in range(100)
    ]
    secrets = {f"app-{n}": {"KEY": "value"} for n in range(100)}
    fleet = {f"web{host}": HostApps(copy.deepcopy(apps), secrets) for host in range(10)}
    start = time.process_time()
    assert problems(fleet, CONTROLLER) == []
    assert time.process_time() - start < 3


# apps that are to go, and apps with another name


def test_an_absent_app_needs_nothing_but_its_name() -> None:
    assert found({"name": "old", "state": "absent"}, BLOG) == []
    assert found({**FULL, "state": "absent"}) == []


def test_an_absent_app_may_keep_what_is_no_longer_there() -> None:
    """Its code and the values of its secrets are not needed to remove it."""
    gone = {**BLOG, "state": "absent", "source": {"path": "removed"}, "secrets": ["KEY"]}
    assert found(gone) == []
    assert [problem.reason for problem in found({**gone, "state": "present"})] == [
        "there is no directory /bundle/removed on the controller",
        "KEY has no value in vault_python_apps_secrets.blog",
    ]
    assert found(gone, secrets={"blog": {"KEY": "x", "OTHER": "y"}}) == []


def test_a_slip_in_an_absent_app_is_still_one() -> None:
    (problem,) = found({"name": "old", "state": "absent", "domian": []})
    assert problem.fix == "did you mean domains?"
    (problem,) = found({**BLOG, "state": "abesnt"})
    assert (problem.where, problem.fix) == ("python_apps[0] (blog).state", "state: absent")
    (problem,) = found({"state": "absent"})
    assert problem.reason == "`name` is missing"


def test_domains_of_an_absent_app_are_free() -> None:
    other = {**BLOG, "name": "other"}
    assert found({**BLOG, "state": "absent"}, other) == []
    assert len(found(BLOG, other)) == 2


def test_an_app_may_move_to_another_host() -> None:
    absent = HostApps([{"name": "blog", "state": "absent"}])
    assert problems({"web1": absent, "web2": HostApps([BLOG])}, CONTROLLER) == []


def test_one_name_is_not_both_absent_and_present() -> None:
    (problem,) = found({"name": "blog", "state": "absent"}, BLOG)
    assert problem.reason == '"blog" is already the name of python_apps[0] (blog) on this host'


def test_a_renamed_app() -> None:
    assert found({**BLOG, "renamed_from": "diary"}) == []
    cases: list[tuple[list[dict[str, Any]], str, str]] = [
        (
            [{**BLOG, "renamed_from": "blog"}],
            "this is the current name of the app",
            "write its old name here",
        ),
        (
            [{**BLOG, "renamed_from": "diary"}, {"name": "diary", "state": "absent"}],
            "python_apps[1] (diary) is still in the list, and would be removed once blog is live",
            "remove python_apps[1] (diary), or remove renamed_from",
        ),
        (
            [
                {**BLOG, "renamed_from": "diary"},
                {**BLOG, "name": "b", "domains": ["b.example"], "renamed_from": "diary"},
            ],
            'python_apps[0] (blog) takes over "diary" already',
            "remove it from one of the two",
        ),
    ]
    for apps, reason, fix in cases:
        (problem,) = found(*apps)
        assert problem.where.endswith(".renamed_from")
        assert problem.reason == reason
        assert fix in problem.fix
    (problem,) = found({**BLOG, "renamed_from": "Diary"})
    assert problem.fix == "renamed_from: diary"


@pytest.mark.parametrize(
    ("changes", "place", "reason"),
    [
        ({"persistent": ["db.sqlite3"]}, ".persistent[0]", '"db.sqlite3" is a file by its name'),
        (
            {"persistent_files": ["media/x.db"], "persistent": ["media"]},
            ".persistent_files[0]",
            '"media/x.db" and the persistent "media" overlap',
        ),
        ({"persistent_files": ["a", "a/b"]}, ".persistent_files[0]", '"a" and the persistent "a/b" overlap'),
        (
            {"persistent_files": ["x.ini"], "files": {"x.ini": "templates/blog.ini.j2"}},
            ".persistent_files[0]",
            "`files` renders",
        ),
        (
            {"persistent_files": ["s/x.db"], "static": {"/s/": ["t", "s"]}},
            ".persistent_files[0]",
            '"s/x.db" would be served',
        ),
        ({"static": {"/s/": ["s", "m"]}, "persistent": ["m"]}, '.static["/s/"][1]', '"m" is persistent'),
        ({"static": {"/f": ["s", "m"]}}, '.static["/f"]', '"/f" is the URL of a single file'),
        ({"static": {"/s/": ["s", "s"]}}, '.static["/s/"][1]', "the same as entry [0] of this list"),
        ({"static": {"/s/": []}}, '.static["/s/"]', "the list is empty"),
        ({"static": {"/s/": ["a", "b"], "/s/t/": "c"}}, '.static["/s/t/"]', 'it overlaps with "/s/"'),
        (
            {"static": {"/s/": ["a", "b"]}, "health": {"path": "/s/x"}},
            ".health.path",
            '"/s/x" is below "/s/"',
        ),
    ],
)
def test_persistent_files_and_several_directories(changes: dict[str, Any], place: str, reason: str) -> None:
    problems = [(one.where, one.reason) for one in found({**BLOG, **changes})]
    assert any(
        where == f"python_apps[0] (blog){place}" and text.startswith(reason) for where, text in problems
    ), problems


def test_one_default_site_for_each_host() -> None:
    first = {**BLOG, "default_site": True}
    other = {**BLOG, "name": "shop", "domains": ["shop.example.com"], "default_site": True}
    fleet = {"web1": HostApps([first, other]), "web2": HostApps([other])}
    clashes = [one for one in problems(fleet, CONTROLLER) if one.where.endswith("default_site")]
    assert [(one.where, one.reason) for one in clashes] == [
        (
            "python_apps[1] (shop).default_site",
            "python_apps[0] (blog) is the default site of this host already",
        )
    ]
    below = found({**first, "path": "/below/"})
    assert [one.where for one in below] == ["python_apps[0] (blog).default_site"]


def test_one_default_site_for_all_hosts_behind_balancers() -> None:
    first = {**BLOG, "default_site": True}
    other = {**BLOG, "name": "shop", "domains": ["shop.example.com"], "default_site": True}
    fleet = {"web1": HostApps([first]), "web2": HostApps([first]), "web3": HostApps([other])}
    assert problems(fleet, CONTROLLER) == []
    (clash,) = problems(fleet, CONTROLLER, balanced=True)
    assert (clash.hosts, clash.where) == (("web3",), "python_apps[0] (shop).default_site")
    assert clash.reason == "python_apps[0] (blog) on host web1 is the default site of the balancers already"
