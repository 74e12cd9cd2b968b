"""Commands on the host and what is said when they fail."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.module_utils import host_command
from ansible_collections.emperor.stack.plugins.module_utils.host_command import CommandFailed, run, run_shell


def test_both_outputs_come_back() -> None:
    assert run_shell("echo out; echo err >&2", what="x") == "out\nerr\n"


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        ("echo reason; exit 3", "exit status 3"),
        ("echo reason; kill -9 $$", "ended by SIGKILL"),
        ("echo reason; kill -40 $$", "ended by signal 40"),
        ("echo reason; false; true", "exit status 1"),
        ("echo reason; sleep 30", "still running after 0.3 s"),
    ],
)
def test_a_failure_says_what_how_and_what_it_printed(command: str, outcome: str) -> None:
    with pytest.raises(CommandFailed) as failed:
        run_shell(command, what="building", timeout=0.3)
    assert str(failed.value) == f"building failed ({outcome}): {command}\nreason"


def test_what_cannot_be_run() -> None:
    with pytest.raises(CommandFailed, match="No such file"):
        run(["/nonexistent"], what="x")


def test_a_process_that_left_its_group_does_not_hold_us(tmp_path: object) -> None:
    began = time.monotonic()
    with pytest.raises(CommandFailed, match="still running"):
        run_shell("echo reason; setsid sleep 6 & sleep 30", what="x", timeout=0.3)
    assert time.monotonic() - began < 5


def test_the_environment_is_only_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAK", "1")
    lines = run(["/usr/bin/env"], what="x", env={"A": "b"}).split()
    assert sorted(lines) == ["A=b", "LANG=C.UTF-8", f"PATH={host_command.SYSTEM_PATH}"]


def test_the_tail_leaves_empty_lines_out() -> None:
    assert host_command.tail("a\n\n b\n \nc\n", 2) == " b\nc"


@pytest.fixture
def nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_command, "_hidden", set())


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("hunter22", "********"),
        ("x=hunter22;", "x=********;"),
        (repr("two\nlines'"), '"********"'),
        ('{"a": "two\\nlines\'"}', '{"a": "********"}'),
        ("first two\nthen lines' too", "first two\nthen ******** too"),
        ("abc", "abc"),
    ],
    ids=["alone", "inside", "quoted by Python", "quoted by JSON", "a line of it", "short"],
)
def test_what_no_message_shows(nothing_hidden: None, said: str, shown: str) -> None:
    host_command.hide(["hunter22", "two\nlines'", "abc", ""])
    assert host_command.hidden(said) == shown


def test_a_secret_is_masked_before_the_output_is_cut(nothing_hidden: None) -> None:
    secret = "\n".join(f"line{number}" for number in range(40))
    host_command.hide([secret])
    with pytest.raises(CommandFailed) as caught:
        run(["sh", "-c", f"echo '{secret}'; exit 1"], what="x", shown_as="x")
    assert "line" not in str(caught.value)


@pytest.mark.parametrize("systemd", [True, False])
def test_what_runs_as_an_app_runs_among_the_apps(
    systemd: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the limits of all apps, and with an end for what it leaves behind; where there is a systemd to ask."""
    for name in ("systemd-run", "setpriv", "systemctl"):
        program = tmp_path / name
        # Each notes how it was called, and becomes what stands behind its "--".
        program.write_text(
            f'#!/bin/sh\necho {name} "$@" >>{tmp_path}/calls\n'
            'while [ $# -gt 0 ]; do [ "$1" = -- ] && { shift; exec "$@"; }; shift; done\n'
        )
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(host_command, "SYSTEM_PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(host_command, "SYSTEMD", str(tmp_path if systemd else tmp_path / "none"))
    with pytest.raises(CommandFailed, match="exit status 3"):
        run(["/bin/sh", "-c", "exit 3"], what="x", user="blog")
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == (
        ["systemd-run", "setpriv", "systemctl"] if systemd else ["setpriv"]
    )
    if systemd:
        scope = calls[0].partition("--unit=")[2].split()[0]
        assert scope.startswith("app_blog_command.")
        assert "--scope" in calls[0]
        assert "--slice=apps.slice" in calls[0]
        assert calls[2] == f"systemctl kill --signal=KILL {scope}"
