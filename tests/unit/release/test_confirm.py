"""A switch over several hosts, which each host takes back by itself when the run does not confirm it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.programs import go_back
from ansible_collections.emperor.stack.plugins.module_utils.release import confirm
from ansible_collections.emperor.stack.plugins.module_utils.release.options import Options

from tools.project import ROOT

from .playing import MINE, Host
from .test_call_off import up_to

TOKEN = str(MINE["token"])


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """What systemd is told about the timer, on a host with the program."""
    told: list[list[str]] = []

    def run(argv: list[str], **_: Any) -> str:
        told.append(argv)
        return ""

    monkeypatch.setattr(confirm, "run", run)
    program = tmp_path / "go-back"
    program.touch()
    monkeypatch.setattr(confirm, "PROGRAM", str(program))
    return told


def switched(deploys: Host) -> str:
    """Two releases, the second one switched to within a deploy over several hosts. Returns the first one."""
    deploys.deploy("a" * 40)
    before = str(deploys.state.live_release())
    deploys.options = replace(deploys.options, confirm_within=180)
    up_to(deploys, "switch", "b" * 40)
    return before


def test_a_switch_that_nobody_confirms_is_taken_back(
    deploys: Host, commands: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    before = switched(deploys)
    assert commands[-1][2:] == [
        "--collect",
        "--unit=emperor-stack-unconfirmed-blog",
        "--on-active=180",
        "--timer-property=AccuracySec=1s",
        confirm.PROGRAM,
        "blog",
        TOKEN,
    ]
    assert deploys.state.live_release() != before
    assert go_back.main("blog", TOKEN) == 0
    assert f"{before} keeps serving" in capsys.readouterr().out
    assert deploys.state.live_release() == before
    deploys.settled()
    last = deploys.state.history()[-1]
    assert (last["phase"], last["result"], last["who"]) == ("call_off", "called off", "ann@laptop")
    assert "did not confirm the switch in time" in last["reason"]
    # The run goes on after all: it is told so, and calls the app off on the other hosts.
    outcome = deploys.phase("confirm")
    assert f"this host went back to {before} by itself" in outcome["error"]
    assert "confirmed" not in outcome


def test_a_confirmed_switch_stays(deploys: Host, commands: list[list[str]]) -> None:
    before = switched(deploys)
    assert deploys.phase("confirm")["release"] == deploys.state.live_release()
    assert commands[-1] == ["systemctl", "stop", "emperor-stack-unconfirmed-blog.timer"]
    # It was started in the same moment, and waited.
    assert go_back.main("blog", TOKEN) == 0
    assert deploys.state.live_release() != before
    assert "error" not in deploys.phase("drain")
    deploys.settled()


def test_a_switch_that_another_run_has_taken_up_stays(deploys: Host, commands: list[list[str]]) -> None:
    before = switched(deploys)
    live = deploys.state.live_release()
    deploys.next_run()
    plan = deploys.phase("plan")
    assert plan["action"] == "finish"
    deploys.phase("prepare", action="finish")
    assert go_back.main("blog", TOKEN) == 0
    assert deploys.state.live_release() == live != before


def test_what_was_confirmed_can_still_be_called_off_by_the_run(
    deploys: Host, commands: list[list[str]]
) -> None:
    before = switched(deploys)
    deploys.phase("confirm")
    deploys.phase("call_off", called_off="two: this host went back by itself")
    assert deploys.state.live_release() == before
    deploys.settled()


def test_a_phase_that_goes_on_is_waited_for(
    deploys: Host,
    commands: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = switched(deploys)
    monkeypatch.setattr(go_back, "PATIENCE", 0.1)
    with deploys.state.working():
        assert go_back.main("blog", TOKEN) == 1
    assert "the switch of blog stays: a deploy is under way" in capsys.readouterr().err
    assert deploys.state.live_release() != before


def test_an_app_that_was_removed_meanwhile_is_left_alone(
    deploys: Host, commands: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert go_back.main("shop", TOKEN) == 1
    assert "the switch of shop stays: " in capsys.readouterr().err


@pytest.mark.parametrize("why", ["alone", "earlier version"])
def test_no_timer_is_set_where_nobody_confirms(
    deploys: Host, commands: list[list[str]], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploys.deploy("a" * 40)
    if why == "earlier version":
        monkeypatch.setattr(confirm, "PROGRAM", f"{layout.LIBRARY}/absent")
        deploys.options = replace(deploys.options, confirm_within=180)
    up_to(deploys, "switch", "b" * 40)
    assert "systemd-run" not in {argv[0] for argv in commands}


def test_nobody_else_confirms_a_switch(deploys: Host, commands: list[list[str]]) -> None:
    switched(deploys)
    deploys.options = Options(owner={"token": "boot/ns/7/7", "who": "eve@desk"})
    assert "a deploy is under way" in deploys.phase("confirm")["error"]
    lock = deploys.state.lock()
    assert lock is not None and not lock.confirmed


@pytest.mark.parametrize(
    ("verdict", "seconds"),
    [
        ({}, 180),
        ({"names": {"blog": "r1"}}, 180),
        ({"names": {"blog": "r1", "shop": "r2"}, "canaries": {"blog": {"seconds": 60}}}, 250),
        # A host switches them one after the other, and nothing is confirmed before the last one has switched.
        ({"names": {f"app{number}": "r1" for number in range(61)}}, 780),
        ({"targets": {"blog": {"web1": "r1"}}, "names": {}}, 180),
    ],
)
def test_a_host_waits_longer_where_more_is_done_before_the_confirmation(
    verdict: dict[str, Any], seconds: int
) -> None:
    loader = DataLoader()
    path = ROOT / "roles/python_apps/vars/main.yml"
    wanted = loader.load_from_file(str(path), trusted_as_template=True)["__python_apps_confirm_within"]
    templar = Templar(loader, variables={"python_apps_confirm_within": 180, "__python_apps_verdict": verdict})
    assert templar.template(wanted) == seconds
