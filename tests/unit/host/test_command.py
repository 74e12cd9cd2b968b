"""Commands on the host and what is said when they fail."""

from __future__ import annotations

import os
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import command as host_command
from ansible_collections.emperor.stack.plugins.module_utils.host import masking
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed, run


def run_shell(line: str, **options: Any) -> str:
    return run(["/bin/sh", "-ec", line], **{"shown_as": line, **options})


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


@pytest.mark.parametrize("ends", ["exit 0", "exit 3", "kill -9 $$"])
def test_a_command_has_ended_when_its_process_has(ends: str) -> None:
    """Also where something that it left behind holds its output open."""
    began = time.monotonic()
    outcome = "ended"
    try:
        assert run_shell(f"sleep 20 & echo started; {ends}", what="x") == "started\n"
    except CommandFailed as error:
        outcome = str(error)
    assert "still running" not in outcome
    assert (outcome == "ended") is (ends == "exit 0")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "endless",
    ["yes", r"head -c 30000000 /dev/zero | tr '\0' x", "cat /dev/urandom"],
    ids=["lines", "one line of 30 MB", "bytes"],
)
def test_the_end_of_any_output_is_kept(endless: str) -> None:
    """The whole of it would be in the memory of root's process."""
    tracemalloc.start()
    try:
        with pytest.raises(CommandFailed) as caught:
            run_shell(f"{endless}; echo; echo the reason; exit 1", what="x", timeout=2, shown_as="x")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 20_000
    assert most < 4 * 1024 * 1024
    if "30000000" in endless:
        assert str(caught.value).endswith("\nthe reason")


def test_an_output_that_is_asked_for_whole() -> None:
    line = r"printf 'a\0b\033[0m\377'; echo warning >&2"
    assert run_shell(line, what="x", whole=100) == "a\0b\x1b[0m\udcff"
    with pytest.raises(CommandFailed, match="more than 100 bytes"):
        run_shell("echo no >&2; yes", what="x", whole=100, timeout=20)
    with pytest.raises(CommandFailed, match=r"exit status 4.*\nwarning"):
        run_shell(line + "; exit 4", what="x", whole=100, shown_as="x")


def test_a_message_is_harmless_to_a_terminal() -> None:
    with pytest.raises(CommandFailed) as caught:
        run_shell(r"printf '\033]0;title\007\033[31mred\n'; exit 1", what="x", shown_as="x")
    assert str(caught.value) == "x failed (exit status 1): x\nred"


def test_the_environment_is_only_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAK", "1")
    lines = run(["/usr/bin/env"], what="x", env={"A": "b"}).split()
    assert sorted(lines) == ["A=b", "LANG=C.UTF-8", f"PATH={host_command.SYSTEM_PATH}"]


def test_the_tail_leaves_empty_lines_out() -> None:
    assert host_command.tail("a\n\n b\n \nc\n", 2) == " b\nc"


@pytest.fixture
def nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_hidden", set())


def test_a_secret_is_masked_before_the_output_is_cut(nothing_hidden: None) -> None:
    secret = "\n".join(f"line{number}" for number in range(40))
    masking.hide([secret])
    with pytest.raises(CommandFailed) as caught:
        run(["sh", "-c", f"echo '{secret}'; exit 1"], what="x", shown_as="x")
    assert "line" not in str(caught.value)


def test_what_a_command_leaves_behind_is_ended_where_that_is_asked(tmp_path: Path) -> None:
    for name, options in (("stays", {}), ("goes", {"end_group": True})):
        run_shell(f"(sleep 0.5; touch {tmp_path}/{name}) &", what="x", **options)
    time.sleep(1.5)
    assert os.listdir(tmp_path) == ["stays"]
