"""Which apps move to a fresh emperor at once, and which wait for their deploy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.emperor import handover, old_sockets
from ansible_collections.emperor.stack.plugins.module_utils.release import venv
from ansible_collections.emperor.stack.plugins.module_utils.uwsgi import emperor_check
from ansible_collections.emperor.stack.plugins.modules import emperor as module

RELEASE = "20261122T100000-aaaaaaa"


@pytest.mark.parametrize(
    ("changes", "waits"),
    [
        ({"python": "3.11"}, True),
        ({"python": "3.13"}, False),
        ({"python": "3.12", "own_server": "pyuwsgi==2.0.30"}, False),
    ],
)
def test_a_release_for_the_python_of_an_older_debian_waits(
    host: Path,
    save: Callable[..., Any],
    run_activation: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str],
    waits: bool,
) -> None:
    monkeypatch.setattr(venv, "python_version", lambda: "3.13")
    save(RELEASE, **changes)
    run_activation(RELEASE, "blog@1", live=True)
    assert handover.awaiting_deploy("a") == (["blog"] if waits else [])
    assert handover.awaiting_deploy("b") == []


@pytest.mark.parametrize("kept", [[], ["blog"]])
def test_what_waits_is_not_touched(monkeypatch: pytest.MonkeyPatch, kept: list[str]) -> None:
    monkeypatch.setattr(old_sockets, "apps", list)
    monkeypatch.setattr(emperor_check, "is_running", lambda emperor: True)
    monkeypatch.setattr(handover, "choose", lambda emperor: None)
    monkeypatch.setattr(handover, "apps_under", lambda emperor: ["blog", "shop"])
    monkeypatch.setattr(handover, "move_app", lambda app, *_, **__: f"{app}@2")
    moved: list[str] = []
    assert module.move("b", "a", False, 80, moved, kept) == []
    assert moved == [f"{app}@2" for app in ("blog", "shop") if app not in kept]


@pytest.mark.parametrize("leave", [True, False])
def test_the_old_emperor_stops_when_nothing_waits_any_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, leave: bool
) -> None:
    done: list[str] = []
    said: dict[str, Any] = {}

    class Module:
        check_mode = False

        def __init__(self, **_: Any) -> None:
            self.params = {"state": "started", "apps": None, "leave_to_deploy": leave, "http_port": 80}

        def exit_json(self, **result: Any) -> None:
            said.update(result)
            raise SystemExit

    unit = tmp_path / "unit"
    unit.touch()
    monkeypatch.setattr(module, "AnsibleModule", Module)
    monkeypatch.setattr(module.layout, "RUN", str(tmp_path))
    monkeypatch.setattr(emperor_check, "UNIT", str(unit))
    monkeypatch.setattr(emperor_check, "running_emperor", lambda: "b")
    monkeypatch.setattr(emperor_check, "is_running", lambda emperor: True)
    monkeypatch.setattr(emperor_check, "out_of_date", lambda emperor: None)
    monkeypatch.setattr(old_sockets, "apps", list)
    monkeypatch.setattr(handover, "choose", lambda emperor: None)
    monkeypatch.setattr(handover, "apps_under", lambda emperor: ["blog"] if emperor == "a" else [])
    monkeypatch.setattr(handover, "awaiting_deploy", lambda emperor: ["blog"])
    monkeypatch.setattr(handover, "move_app", lambda app, *_, **__: done.append(f"moved {app}"))
    monkeypatch.setattr(handover, "retire", lambda emperor: done.append(f"retired {emperor}"))
    with pytest.raises(SystemExit):
        module.main()
    assert done == ([] if leave else ["moved blog", "retired a"])
    assert said["left"] == (["blog"] if leave else [])
    assert said["changed"]
