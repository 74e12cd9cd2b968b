"""The steps of an upgrade of Debian, on a host where apt and systemd are played."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.debian import apt, checks, suites, upgrade
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed
from ansible_collections.emperor.stack.plugins.module_utils.host.release_error import ReleaseError
from ansible_collections.emperor.stack.plugins.module_utils.release import pythons
from ansible_collections.emperor.stack.plugins.modules import os_upgrade

Save = Callable[..., Any]


class Debian:
    """What apt, dpkg and systemd say."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.automatic = ["python3.11", "libpython3.11-stdlib"]
        #: What the unit is, one state after the other.
        self.states = ["inactive", "activating", "", "active"]

    def __call__(self, argv: list[str], **_: Any) -> str:
        self.calls.append(argv)
        if "dpkg-query" in argv:
            return "ii python3.11\nii libpython3.11-stdlib\nrc libpython3.11\n"
        if argv[:2] == ["apt-mark", "showauto"]:
            return "\n".join(self.automatic)
        if argv[:2] == ["systemctl", "show"]:
            state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            if not state:
                raise CommandFailed("systemctl show", "systemctl", "exit status 1", "it is replaced")
            return f"{state}\n"
        if argv[0] == "journalctl":
            return "E: dpkg was interrupted"
        return ""

    def marked(self, how: str) -> list[list[str]]:
        return [call[2:] for call in self.calls if call[:2] == ["apt-mark", how]]


@pytest.fixture
def debian(host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Debian:
    made = Debian()
    monkeypatch.setattr(apt, "HOME", str(tmp_path / "os_upgrade"))
    monkeypatch.setattr(upgrade, "run", made)
    monkeypatch.setattr(upgrade.time, "sleep", lambda seconds: None)
    return made


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "sources.list"
    path.write_text("deb http://a.example/ bookworm main\n")
    monkeypatch.setattr(suites, "changes", lambda *_: {str(path): "deb http://a.example/ trixie main\n"})
    return path


def test_before_apt_begins_the_old_python_is_named_and_kept(
    debian: Debian, sources: Path, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[str] = []
    monkeypatch.setattr(pythons, "name_in_venvs", named.append)
    save("20261122T100000-aaaaaaa", python="3.11")
    upgrade.begin(suites.BOOKWORM, suites.TRIXIE, drained=True)
    assert named == ["blog"]
    assert debian.marked("manual") == [["python3.11", "libpython3.11-stdlib"]]
    assert sources.read_text() == "deb http://a.example/ trixie main\n"
    assert Path(apt.HOME, "sources/sources.list").read_text() == "deb http://a.example/ bookworm main\n"
    assert upgrade.progress() == upgrade.Progress("12", "13", drained=True)


def test_a_run_that_died_is_known_before_anything_else_changes(
    debian: Debian, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(old: Any) -> None:
        raise CommandFailed("apt-mark", "apt-mark", "killed", "")

    monkeypatch.setattr(upgrade, "keep_python", die)
    with pytest.raises(CommandFailed):
        upgrade.begin(suites.BOOKWORM, suites.TRIXIE, drained=False)
    assert upgrade.progress() is not None
    assert "bookworm" in sources.read_text()


def test_apt_goes_on_while_systemd_is_replaced(debian: Debian) -> None:
    upgrade.packages()
    (started,) = [call for call in debian.calls if call[0] == "systemd-run"]
    assert started[-1] == upgrade.SCRIPT
    assert "--setenv=DEBIAN_FRONTEND=noninteractive" in started


def test_what_a_lost_connection_left_running_is_waited_for(debian: Debian) -> None:
    debian.states = ["activating", "activating", "active"]
    upgrade.packages()
    assert not [call for call in debian.calls if call[0] == "systemd-run"]


def test_a_failure_has_the_last_words_of_apt(debian: Debian) -> None:
    debian.states = ["inactive", "activating", "failed"]
    with pytest.raises(CommandFailed, match="dpkg was interrupted"):
        upgrade.packages()


def test_a_host_that_is_not_what_apt_says_is_an_error(
    debian: Debian, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "number", lambda: "12")
    with pytest.raises(ReleaseError, match="still has Debian 12"):
        upgrade.upgraded(suites.TRIXIE)


def test_the_old_python_is_kept_until_no_release_needs_it(debian: Debian, save: Save) -> None:
    os.makedirs(apt.HOME)
    upgrade.keep_python(suites.BOOKWORM)
    save("20261122T100000-aaaaaaa", python="3.11")
    save("20261122T110000-bbbbbbb", python="3.13")
    assert upgrade.kept() == ("3.11", ["blog 20261122T100000-aaaaaaa"])
    assert debian.marked("auto") == []
    save("20261122T100000-aaaaaaa", python="3.11", status="failed")
    assert upgrade.kept() == ("3.11", [])
    assert debian.marked("auto") == [["python3.11", "libpython3.11-stdlib"]]
    assert upgrade.kept() == ("", [])


def test_a_python_that_somebody_has_installed_is_left_alone(debian: Debian, save: Save) -> None:
    os.makedirs(apt.HOME)
    debian.automatic = []
    upgrade.keep_python(suites.BOOKWORM)
    assert debian.marked("manual") == []
    assert upgrade.kept() == ("", [])


# The module


class Failed(Exception):
    pass


class Module:
    check_mode = False

    def __init__(self, **given: Any) -> None:
        self.params = {
            "apps": [],
            "interpreters": {},
            "postgresql_version": "",
            "start_uwsgi": "",
            "http_port": 80,
        }
        self.params |= {"accept": [], **given}

    def fail_json(self, msg: str, **_: Any) -> None:
        raise Failed(msg)


PROBLEMS = [
    checks.Problem("disk", "disk of /usr", "it is full", "make space"),
    checks.Problem("", "packages", "half installed", "repair them"),
]


@pytest.mark.parametrize(
    ("accept", "said", "unsaid"),
    [([], ["it is full", "half installed"], []), (["disk"], ["half installed"], ["full"])],
)
def test_all_problems_that_are_not_accepted_are_said_at_once(
    monkeypatch: pytest.MonkeyPatch, accept: list[str], said: list[str], unsaid: list[str]
) -> None:
    monkeypatch.setattr(checks, "problems", lambda *_: PROBLEMS)
    with pytest.raises(Failed) as failed:
        os_upgrade.checked(Module(accept=accept), "12", {"action": "upgrade"})  # type: ignore[arg-type]
    assert all(one in str(failed.value) for one in said)
    assert not any(one in str(failed.value) for one in unsaid)


def test_what_has_begun_is_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of an upgrade is no place to stay."""
    monkeypatch.setattr(checks, "problems", lambda *_: PROBLEMS)
    assert os_upgrade.checked(Module(), "13", {"action": "continue"}) is False  # type: ignore[arg-type]


def test_an_upgrade_that_has_the_packages_has_nothing_more_to_do(
    debian: Debian, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.makedirs(apt.HOME)
    Path(apt.HOME, "progress.json").write_text(
        json.dumps({"old": "12", "new": "13", "drained": False, "upgraded": True})
    )
    assert os_upgrade.upgraded(Module(), "13", {"action": "continue", "drained": False}) is False  # type: ignore[arg-type]
    assert debian.calls == []
