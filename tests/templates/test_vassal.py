"""The vassal's config as the controller renders it, by Ansible's own templar, and as uWSGI reads it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.release.build import fill
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.apps import complete

TEMPLATE = Path(__file__).resolve().parents[2] / "roles/python_apps/templates/vassal.ini.j2"
RELEASE = "20261122T193000-ab12cd3"
UWSGI = "/usr/bin/uwsgi"


def render(listen: int = 1024, **app: Any) -> str:
    entry = complete(
        {
            "name": "blog",
            "domains": ["blog.example.com"],
            "source": {"path": "x"},
            "wsgi": "app:application",
            **app,
        }
    )
    variables = {"app": entry, "listen": listen}
    text = Templar(loader=DataLoader(), variables=variables).template(trust_as_template(TEMPLATE.read_text()))
    return fill(str(text), "blog", RELEASE)


def sizes(monkeypatch: pytest.MonkeyPatch, directory: Path, text: str) -> None:
    (directory / "sizes.json").write_text(text)
    monkeypatch.setattr(layout, "SIZES", str(directory / "sizes.json"))


def options(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith(("#", "[")):
            name, equals, value = line.partition(" = ")
            assert equals, line
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("strict", "true"),
        ("need-app", "true"),
        ("single-interpreter", "true"),
        ("enable-threads", "true"),
        ("py-call-uwsgi-fork-hooks", "true"),
        ("buffer-size", "65535"),
        ("max-vars", "3300"),
        ("disable-logging", "true"),
        ("log-5xx", "true"),
        ("ignore-sigpipe", "true"),
        ("ignore-write-errors", "true"),
        ("disable-write-exception", "true"),
        ("master", "true"),
        ("add-header", f"X-Release: {RELEASE}"),
        ("chdir", f"/srv/apps/blog/releases/{RELEASE}/code"),
        ("virtualenv", f"/srv/apps/blog/releases/{RELEASE}/venv"),
        ("wsgi-file", f"/srv/apps/blog/releases/{RELEASE}/entry.py"),
    ],
)
def test_every_vassal_has(name: str, value: str) -> None:
    assert options(render())[name] == [value]


@pytest.mark.parametrize(
    # Each with what it breaks: strict refuses the first two, the others are traps of their own.
    "name",
    [
        "max-requests-delta",
        "emperor-tyrant-initgroups",
        "harakiri-graceful-timeout",
        "die-on-term",
        "thunder-lock",
        "cheaper",
        "lazy-apps",
        # Of Debian's uWSGI alone; start-uwsgi asks for it where it is used.
        "plugin",
        # Python has read its environment by then; see entry.py.
        "env",
        "logto",
        "chown-socket",
        "uid",
        "gid",
    ],
)
def test_no_vassal_has(name: str) -> None:
    assert name not in options(render())


def test_workers_are_renewed_now_and_then() -> None:
    assert 50000 < int(options(render())["max-requests"][0]) <= 1000000


@pytest.mark.parametrize("seconds", [1, 60, 3600])
def test_the_time_limits_follow_the_apps(seconds: int) -> None:
    found = options(render(limits={"request_timeout": seconds}))
    ladder = [int(found[name][0]) for name in ("harakiri", "worker-reload-mercy", "reload-mercy")]
    assert ladder == [seconds, seconds + 5, seconds + 20]


def test_each_process_imports_the_app_where_that_was_chosen() -> None:
    """But not where a release is checked: uWSGI would not import it at all."""
    lines = render(web={"preload": False}).splitlines()
    begin = lines.index("if-not-env = EMPEROR_STACK_CHECK")
    assert lines[begin : begin + 3] == [
        "if-not-env = EMPEROR_STACK_CHECK",
        "lazy-apps = true",
        "end-if = true",
    ]


def test_the_size_follows_the_app() -> None:
    found = options(render(listen=77, web={"processes": 5, "threads": 3, "max_requests": 2000}))
    assert (found["processes"], found["threads"], found["listen"]) == (["5"], ["3"], ["77"])
    assert found["max-requests"] == ["2000"]


def test_a_size_that_nobody_gave_is_the_hosts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sizes(monkeypatch, tmp_path, '{"blog": 6}')
    assert options(render())["processes"] == ["6"]


def test_an_app_that_the_host_has_not_sized_gets_one_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sizes(monkeypatch, tmp_path, '{"shop": 4}')
    assert options(render())["processes"] == ["1"]


def test_a_sleeping_app_ends_when_idle() -> None:
    found = options(render(on_demand=True, idle=77))
    assert (found["idle"], found["die-on-idle"]) == (["77"], ["true"])
    assert not {"idle", "die-on-idle"} & set(options(render()))


@pytest.mark.parametrize("sleeps", [False, True])
def test_it_binds_nothing(sleeps: bool) -> None:
    """Neither the socket, which the emperor hands over, nor statistics, whose place `enter` chooses."""
    assert not {"socket", "chmod-socket", "stats", "vacuum"} & set(options(render(on_demand=sleeps)))


def test_nothing_is_left_to_fill_in() -> None:
    assert not re.search(r"@[A-Z_]+@|\{\{|\{%", render())


def test_the_same_release_gives_the_same_file() -> None:
    assert render() == render()


def uwsgi(directory: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Let uWSGI load *text* with its paths in *directory*, without serving."""
    code = directory / "code"
    code.mkdir(exist_ok=True)
    (directory / "entry.py").write_text("def application(environ, start_response):\n    return []\n")
    text = text.replace(f"/srv/apps/blog/releases/{RELEASE}", str(directory))
    (directory / "blog@7.ini").write_text(re.sub(r"(?m)^virtualenv = .*$", "", text))
    return subprocess.run(
        [UWSGI, "--plugin", "python3", "--ini", str(directory / "blog@7.ini"), "--no-server"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )


@pytest.mark.skipif(not shutil.which(UWSGI), reason="Debian's uWSGI is not installed here")
@pytest.mark.skipif(
    not list(Path("/usr/lib/uwsgi/plugins").glob("python3_plugin.so")),
    reason="uWSGI's Python plugin is not installed here",
)
class TestUwsgi:
    def test_it_takes_the_file(self, tmp_path: Path) -> None:
        result = uwsgi(tmp_path, render(listen=100))
        assert result.returncode == 0, result.stderr
        assert "WSGI app 0 (mountpoint='') ready" in result.stderr
        assert "unavailable modifier" not in result.stderr

    def test_it_refuses_a_misspelt_option(self, tmp_path: Path) -> None:
        result = uwsgi(tmp_path, render(listen=100).replace("need-app", "need-ap"))
        assert result.returncode == 1
        assert "need-ap" in result.stderr
