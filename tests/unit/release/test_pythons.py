"""Releases that were made for the Python of an older Debian: how they find it, and when they cannot be started."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed, TimedOut
from ansible_collections.emperor.stack.plugins.module_utils.release import (
    build,
    checks,
    lifecycle,
    pythons,
    venv,
)
from ansible_collections.emperor.stack.plugins.module_utils.release.options import Options

from .playing import Host

OLD, NEW = "20261122T100000-aaaaaaa", "20261122T110000-bbbbbbb"
Save = Callable[..., Any]


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host whose python3 is 3.13, and which has kept 3.11."""
    programs = tmp_path / "usr-bin"
    programs.mkdir()
    for name in ("python3", "python3.11", "python3.13"):
        (programs / name).write_text("")
        (programs / name).chmod(0o755)
    monkeypatch.setattr(venv, "PYTHON", str(programs / "python3"))
    monkeypatch.setattr(venv, "python_version", lambda: "3.13")
    return programs


@pytest.fixture
def venv_of(debian: Path) -> Callable[[str, str], Path]:
    def make(release: str, target: str) -> Path:
        python = Path(layout.release("blog", release), "venv/bin/python")
        python.parent.mkdir(parents=True)
        python.symlink_to(target)
        return python

    return make


@pytest.mark.skipif(os.geteuid() != 0, reason="the venv has to be root's")
def test_a_venv_gets_the_full_name_of_the_python_that_it_was_made_with(
    host: Path, save: Save, debian: Path, venv_of: Any
) -> None:
    save(OLD, python="3.11")
    save(NEW, python="3.13")
    links = [venv_of(release, str(debian / "python3")) for release in (OLD, NEW)]
    assert pythons.name_in_venvs("blog") == [OLD, NEW]
    assert [os.readlink(link) for link in links] == [str(debian / "python3.11"), str(debian / "python3.13")]
    assert pythons.name_in_venvs("blog") == []


@pytest.mark.parametrize(
    ("python", "target"),
    [("3.12", "python3"), ("3.11", "/opt/python/bin/python3.11"), ("", "python3"), ("../x", "python3")],
)
def test_no_other_venv_is_touched(
    host: Path, save: Save, debian: Path, venv_of: Any, python: str, target: str
) -> None:
    """Of a Python that is not there, of one that the app asked for, of a release that failed, of nonsense."""
    save(OLD, python=python)
    link = venv_of(OLD, str(debian / target))
    assert pythons.name_in_venvs("blog") == []
    assert os.readlink(link) == str(debian / target)


@pytest.mark.skipif(os.geteuid() != 0, reason="root writes where an app could not")
@pytest.mark.parametrize("which", ["bin", "venv"])
def test_no_link_is_followed_out_of_a_release(
    tmp_path: Path, host: Path, save: Save, debian: Path, which: str
) -> None:
    save(OLD, python="3.11")
    outside = tmp_path / "outside"
    (outside / "bin").mkdir(parents=True)
    (outside / "bin/python").symlink_to(debian / "python3")
    release = Path(layout.release("blog", OLD))
    if which == "venv":
        (release / "venv").symlink_to(outside)
    else:
        (release / "venv").mkdir()
        (release / "venv/bin").symlink_to(outside / "bin")
    assert pythons.name_in_venvs("blog") == []
    assert os.readlink(outside / "bin/python") == str(debian / "python3")


@pytest.mark.parametrize("check_mode", [False, True])
def test_each_run_looks_at_the_venvs_that_are_there(
    deploys: Host, monkeypatch: pytest.MonkeyPatch, check_mode: bool
) -> None:
    named: list[str] = []
    monkeypatch.setattr(pythons, "name_in_venvs", named.append)
    deploys.deploy()
    named.clear()
    deploys.options = Options(check_mode=check_mode)
    deploys.phase("plan")
    assert named == ([] if check_mode else ["blog"])


def test_a_new_venv_has_the_full_name_from_the_beginning(debian: Path) -> None:
    spec: Any = {"name": "blog", "python": None}
    assert build._interpreter(spec, {}).path == str(debian / "python3.13")
    (debian / "python3.13").unlink()
    assert build._interpreter(spec, {}).path == str(debian / "python3")


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Let the venv's Python say *version*, or fail; let its server's check fail with *problem*. Returns the calls."""

    def begin(version: str | Exception = "3.11", problem: Exception | None = None) -> list[str]:
        calls: list[str] = []

        def run_as(app: str, argv: list[str], **_: Any) -> str:
            calls.append("python")
            if isinstance(version, Exception):
                raise version
            return f"{version}\n"

        def check(name: str) -> Callable[..., None]:
            def checked(app: str, directory: str, timeout: float) -> None:
                calls.append(name)
                if problem:
                    raise problem

            return checked

        monkeypatch.setattr(pythons, "run_as", run_as)
        monkeypatch.setattr(checks, "check_vassal", check("uwsgi"))
        monkeypatch.setattr(checks, "check_gunicorn", check("gunicorn"))
        return calls

    return begin


NO_PYTHON = CommandFailed("python", "python", "No such file or directory", "")
NO_MODULE = CommandFailed("loading", "uwsgi", "exit status 22", "libpq.so.5: cannot open shared object file")
SLOW = TimedOut("loading", "uwsgi", "still running after 3 s", "")


@pytest.mark.parametrize(
    ("played", "said"),
    [
        ({}, ""),
        ({"version": NO_PYTHON}, "built for Python 3.11, and its venv finds none on this host"),
        ({"version": "3.13"}, "built for Python 3.11, and its venv finds 3.13 on this host"),
        ({"version": SLOW}, ""),
        ({"problem": NO_MODULE}, "cannot be loaded with it on this host: loading failed"),
        ({"problem": SLOW}, ""),
    ],
)
def test_what_keeps_a_release_from_being_started(
    host: Path, save: Save, debian: Path, play: Any, played: dict[str, Any], said: str
) -> None:
    play(**played)
    found = pythons.obstacle(save(OLD, python="3.11"))
    assert said in found and bool(said) is bool(found)


def test_a_release_that_debians_uwsgi_served_is_refused_without_a_look_at_its_python(
    host: Path, save: Save, debian: Path, play: Any
) -> None:
    """Of an earlier version of the bundle."""
    calls = play()
    manifest = save(OLD, python="3.11")
    Path(layout.release("blog", OLD), "vassal.ini").write_text("[uwsgi]\nplugin = python3\n")
    assert "which has Python 3.13 now instead of 3.11" in pythons.obstacle(manifest)
    assert calls == []


@pytest.mark.parametrize(
    "changes", [{"python": "3.13"}, {"python": "3.12", "own_server": "pyuwsgi==2.0.30"}, {"python": ""}]
)
def test_nothing_is_asked_of_releases_for_the_python_of_today(
    host: Path, save: Save, debian: Path, play: Any, changes: dict[str, str]
) -> None:
    calls = play(NO_PYTHON)
    assert pythons.obstacle(save(OLD, **changes)) == ""
    assert calls == []


def test_gunicorn_is_asked_by_itself(host: Path, save: Save, debian: Path, play: Any) -> None:
    calls = play()
    pythons.obstacle(save(OLD, python="3.11", server="gunicorn"))
    assert calls == ["python", "gunicorn"]


# Rollbacks


def test_a_rollback_that_cannot_work_changes_nothing(deploys: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    deploys.deploy("a" * 40)
    deploys.deploy("b" * 40)
    lifecycle.stop(deploys.state, "blog@1")
    deploys.calls.clear()
    monkeypatch.setattr(pythons, "obstacle", lambda manifest: f"no Python for {manifest.release[-7:]}")
    error = deploys.rollback()["error"]
    assert "cannot be started: no Python for aaaaaaa. Nothing was changed." in error
    assert "deploy.yml -e app=blog -e version=v1" in error
    assert deploys.state.live_activation() == "blog@2"
    assert deploys.state.lock() is None
    assert deploys.calls == []


def test_a_release_that_still_runs_needs_no_start(deploys: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    deploys.deploy("a" * 40)
    deploys.deploy("b" * 40)
    monkeypatch.setattr(pythons, "obstacle", lambda manifest: "no Python")
    assert "error" not in deploys.rollback()
    assert deploys.state.live_activation() == "blog@1"
