"""What a run of playbooks/restore.yml says at its end: each app in a row, and what to do about one that failed."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.console import report
from ansible_collections.emperor.stack.plugins.plugin_utils.console import restore_report

GOOD: dict[str, Any] = {"rc": 0, "stdout": "fetched 3 files of blog as of 2026-11-22T02:10:00.123456789Z"}
BAD = {"rc": 1, "stdout": "", "stderr": "host web1: backup_repository\n  reason: x\n  fix:    y\n"}
#: A database of an app that has none, or one that was not reached.
NOT_RUN = {"skipped": True, "skip_reason": "Conditional result was False"}


def shown(steps: dict[str, Any], **options: bool) -> list[str]:
    made = report.valid(restore_report.of_restore({"blog": steps}, **options))
    return report.text([("web1", made)]).splitlines()


def flag(text: str) -> dict[str, Any]:
    return {"content": base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize(
    "flags", [[], [{"msg": "file not found", "failed": False}], [flag("playbooks/restore.yml\n")]]
)
def test_a_restored_app(flags: list[dict[str, Any]]) -> None:
    steps = {"done": "answered", "fetch": [GOOD, NOT_RUN], "put": [{"rc": 0}, NOT_RUN], "flags": flags}
    assert shown(steps) == ["app   backup of             result", "blog  2026-11-22T02:10:00Z  restored"]


def test_maintenance_of_a_person_is_named() -> None:
    lines = shown({"done": "answered", "fetch": [GOOD, {}], "put": [{"rc": 0}, {}], "flags": [flag("")]})
    assert lines[1] == "blog  2026-11-22T02:10:00Z  restored  end maintenance [1]"
    assert lines[3] == (
        "[1] blog: maintenance mode was on before, and stays on: playbooks/maintenance.yml -e app=blog -e state=off lets "
        "visitors in"
    )


@pytest.mark.parametrize(
    ("steps", "result", "said"),
    [
        (
            {"done": "", "fetch": [BAD, NOT_RUN], "behind": ["web1"]},
            "not restored",
            ["host web1: backup_repository", "  reason: x", "  fix:    y", "Nothing was changed."],
        ),
        (
            {"done": "fetched", "fetch": [GOOD, GOOD], "behind": ["web2", "web3"]},
            "not restored",
            ["Its data could not be fetched on web2, web3.", "Nothing was changed."],
        ),
        # A task of Ansible's failed, and has said why.
        (
            {"done": "", "broken": True, "fetch": [{}, {}]},
            "not restored",
            ["The message above says why.", "Nothing was changed."],
        ),
        (
            {"done": "fetched", "broken": True, "fetch": [GOOD, GOOD], "put": [{}, {}]},
            "not restored",
            ["The message above says why.", "Nothing was changed."],
        ),
        (
            {"done": "fetched", "fetch": [GOOD, GOOD], "put": [BAD, NOT_RUN]},
            "not restored",
            ["host web1: backup_repository", "  reason: x", "  fix:    y", "Nothing was changed."],
        ),
        (
            {"done": "fetched", "fetch": [GOOD, GOOD], "put": [{"rc": 0}, {"rc": 1, "stdout": "no room", "stderr": ""}]},
            "half restored",
            [
                "no room",
                "Its files are restored and its database is not, so it stays in maintenance. Restore it again: -e app=blog",
            ],
        ),
        (
            {"done": "fetched", "fetch": [GOOD, GOOD], "put": [{"rc": 0}, NOT_RUN], "unput": ["web2"]},
            "half restored",
            [
                "The files could not be put in place on web2.",
                "Its files are restored and its database is not, so it stays in maintenance. Restore it again: -e app=blog",
            ],
        ),
        (
            {"done": "put", "broken": True, "fetch": [GOOD, GOOD], "put": [{"rc": 0}, {"rc": 0}]},
            "does not answer",
            ["Its data is restored, it does not answer, so it stays in maintenance. The message above says why."],
        ),
    ],
)  # fmt: skip
def test_an_app_that_failed(steps: dict[str, Any], result: str, said: list[str]) -> None:
    titles, row, gap, first, *rest = shown(steps)
    assert row.split("  ")[-2:] == [result, "read [1]"] and (titles[:3], gap) == ("app", "")
    assert [first.removeprefix("[1] blog: "), *(line.removeprefix("    ") for line in rest)] == said
    made = restore_report.of_restore({"blog": steps})
    assert report.worst(made) == report.FAILED and report.failure(made) == "blog failed"


def test_a_front_without_maintenance() -> None:
    lines = shown({"done": "put", "broken": True, "put": [{"rc": 0}, {}]}, maintenance=False)
    assert "it does not answer, and visitors reach it." in lines[3]


def test_in_check_mode_nothing_is_said_to_have_happened() -> None:
    steps = {"done": "answered", "fetch": [NOT_RUN, NOT_RUN], "put": [NOT_RUN, NOT_RUN]}
    assert shown(steps, check=True)[1] == "blog  -          would restore"


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([], ""),
        ([{}, GOOD, NOT_RUN], ""),
        ([GOOD, BAD], BAD["stderr"].strip()),
        # The module itself failed, before there was an exit code.
        ([{"msg": "no python here", "failed": False}], "no python here"),
        ([{"rc": 1}], "it does not say why"),
    ],
)
def test_why_a_step_failed(results: list[dict[str, Any]], said: str) -> None:
    assert restore_report.problem(results) == said


def test_an_app_waits_for_each_of_its_hosts() -> None:
    steps = {"web1": {"blog": {"done": "fetched"}}, "web2": {"shop": {"done": "fetched"}}}
    hostvars = {host: {"__restore_steps": one} for host, one in steps.items()} | {"web3": {}}
    assert restore_report.behind(["web1", "web2", "web3"], hostvars, "blog") == ["web2", "web3"]


def test_a_database_waits_for_the_files_of_each_host() -> None:
    put = {"web1": {"rc": 0}, "web2": {"rc": 1}, "web3": NOT_RUN}
    hostvars: dict[str, Any] = {host: {"__backup_files_put": one} for host, one in put.items()} | {"web4": {}}
    assert restore_report.unput(list(hostvars), hostvars) == ["web2", "web4"]
