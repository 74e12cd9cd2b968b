"""The module: all questions in one exchange, and no error of one of them is lost or ends the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.emperor.stack.plugins.module_utils.app import accounts as app_accounts
from ansible_collections.emperor.stack.plugins.module_utils.host.module import Module
from ansible_collections.emperor.stack.plugins.modules import host_drift


def ask(capsys: pytest.CaptureFixture[str], *questions: dict[str, Any]) -> dict[str, Any]:
    capsys.readouterr()
    with patch_module_args({"questions": list(questions)}), pytest.raises(SystemExit):
        host_drift.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def files(tmp_path: Path, role: str, **arguments: Any) -> dict[str, Any]:
    wanted = [{"path": str(tmp_path / role), "content": "x"}]
    known = {"name": role, "files": wanted, "manifests": str(tmp_path / "manifests"), **arguments}
    return {"tasks": f"{role}/configure", "module": "file_set", "arguments": known}


def test_all_are_answered_and_an_error_is_a_difference_of_its_role(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = files(tmp_path, "wrong", tree="relative")
    unknown = files(tmp_path, "unknown", colour="red")
    found = ask(capsys, wrong, unknown, files(tmp_path, "nginx"))
    assert set(found["differs"]) == {"wrong/configure", "unknown/configure", "nginx/configure"}
    assert "colour" in found["differs"]["unknown/configure"][0]
    assert found["differs"]["nginx/configure"][0] == f"{tmp_path}/nginx differs"
    assert found["changed"] is False
    assert not (tmp_path / "nginx").exists()


def test_where_nothing_differs_it_says_what_is_live(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    live = {"live": "20261122T193000-ab12cd3", "version": "v1.5"}
    asked = {"tasks": "python_apps/deploy", "module": "release", "arguments": {"apps": [{"name": "blog"}]}}
    action = "none"
    monkeypatch.setattr(host_drift, "run_phase", lambda *_: {"blog": {"action": action, "why": "w"}})
    monkeypatch.setattr(host_drift, "serving", lambda *_: live)
    found = ask(capsys, asked)
    assert found["differs"] == {} and found["apps"] == {"blog": {"action": "none", **live}}
    action = "deploy"
    found = ask(capsys, asked)
    assert found["differs"] == {"python_apps/deploy": ["blog: w"]} and "apps" not in found


def test_the_url_of_what_is_live_has_the_port_of_the_web_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(host_drift, "run_phase", lambda *_: {"blog": {"action": "none"}})
    monkeypatch.setattr(
        host_drift, "serving", lambda app, options: {"url": f"http://{app}:{options.http_port}/"}
    )
    arguments = {"apps": [{"name": "blog"}], "http_port": 8080}
    found = ask(capsys, {"tasks": "python_apps/deploy", "module": "release", "arguments": arguments})
    assert found["apps"]["blog"]["url"] == "http://blog:8080/"


def test_a_secret_in_a_file_masks_no_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = ask(capsys, files(tmp_path, "x"))
    assert found["differs"]["x/configure"][0] == f"{tmp_path}/x differs"


def test_an_app_that_is_to_leave_and_one_that_nobody_declared_are_differences(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Asked:
        params: dict[str, Any] = {"apps": [], "leaving": ["old"], "memory": 90, "process_memory": 80}  # noqa: RUF012

    found = {"blog": {}, "bad": {"error": "a link is in the way"}}
    nothing = {"changed": False, "changes": [], "apps": found, "processes": {}, "undeclared": ["stray"]}
    monkeypatch.setattr(app_accounts, "ensure_all", lambda _module: nothing)
    monkeypatch.setattr(app_accounts, "found_apps", lambda: ["old", "stray"])
    module: Module = Asked()  # type: ignore[assignment]
    assert app_accounts.drift(module) == [
        "bad: a link is in the way",
        "old is on this host, and not wanted",
        "stray is on this host, and not wanted",
    ]
