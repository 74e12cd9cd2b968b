"""Workers and timers follow the live release."""

from __future__ import annotations

import os
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.release import lifecycle
from ansible_collections.emperor.stack.plugins.module_utils.systemd import app_units, unit_names

from .playing import Host, Killed

PROCESSES: dict[str, Any] = {
    "workers": {"jobs": {"count": 2, "overlap": True}, "alone": {"count": 1, "overlap": False}},
    "schedule": {"nightly": "03:00"},
}


def with_processes(deploys: Host) -> None:
    """What is live has exactly its own workers and timers, now and after a boot."""
    deploys.settled()
    live = str(deploys.state.live_activation())
    manifest = deploys.state.manifest(str(deploys.state.live_release()))
    assert manifest is not None
    units = {
        layout.activation_unit("blog", name, live, number)
        for name, worker in manifest.workers.items()
        for number in range(1, worker["count"] + 1)
    }
    timers = {f"app_blog_{name}.timer" for name in manifest.schedule}
    services = {f"app_blog_{name}.service" for name in manifest.schedule}
    assert deploys.systemd.running == units | timers
    assert {*unit_names.all_units("blog")} == units | timers | services
    links = {
        name
        for target in ("multi-user", "timers")
        if os.path.isdir(f"{layout.UNITS}/{target}.target.wants")
        for name in os.listdir(f"{layout.UNITS}/{target}.target.wants")
    }
    assert links == units | timers
    for service in services:
        with open(layout.unit_file(service), encoding="utf-8") as file:
            assert file.read().startswith(manifest.release)


def test_an_app_without_units_never_asks_systemd(deploys: Host) -> None:
    for revision in "ab":
        deploys.deploy(revision * 40)
    deploys.rollback()
    deploys.deploy("b" * 40)
    assert deploys.systemd.calls == []


def test_workers_start_beside_the_old_ones_and_those_stop_after_the_switch(deploys: Host) -> None:
    deploys.deploy("a" * 40, **PROCESSES)
    with_processes(deploys)
    deploys.next_run()
    deploys.deploy("b" * 40, **PROCESSES)
    jobs = "app_blog_jobs@2.service app_blog_jobs@2-2.service"
    everything = f"{jobs} app_blog_alone@2.service"
    assert deploys.systemd.calls == [
        "daemon-reload",
        f"start {jobs}",
        f"show {jobs}",
        f"show {jobs}",
        # The switch is here.
        "stop app_blog_alone@1.service",
        "reset-failed app_blog_alone@1.service",
        "daemon-reload",
        "daemon-reload",
        "start app_blog_alone@2.service",
        "show app_blog_alone@2.service",
        "show app_blog_alone@2.service",
        f"show {everything}",
        "daemon-reload",
        # The drain is here.
        "stop app_blog_jobs@1-2.service app_blog_jobs@1.service",
        "reset-failed app_blog_jobs@1-2.service app_blog_jobs@1.service",
        "daemon-reload",
    ]
    with_processes(deploys)
    assert not [unit for unit in deploys.systemd.doubled if "alone" in unit]


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_a_rollback_brings_workers_and_timers_back(
    deploys: Host, monkeypatch: pytest.MonkeyPatch, warm: bool
) -> None:
    deploys.deploy("a" * 40, **PROCESSES)
    more = {"later": {"count": 1, "overlap": True}}
    deploys.deploy("b" * 40, workers={**PROCESSES["workers"], **more}, schedule={"hourly": "hourly"})
    with_processes(deploys)
    if not warm:
        lifecycle.stop(deploys.state, "blog@1")
    settled: list[Any] = []
    monkeypatch.setattr(app_units.time, "sleep", lambda seconds: settled.append(deploys.state.live_release()))
    assert "error" not in deploys.rollback()
    back = deploys.state.live_release()
    assert str(back).endswith("aaaaaaa")
    # A warm one is switched to at once; the wait for its workers comes after that.
    assert (settled[0] == back) is warm
    with_processes(deploys)


@pytest.mark.parametrize("before", [True, False], ids=["it was alone", "it is alone from now on"])
def test_alone_is_what_either_release_says(deploys: Host, before: bool) -> None:
    kinds = [{"jobs": {"count": 1, "overlap": overlap}} for overlap in (not before, before)]
    for revision, workers in zip("ab", kinds, strict=True):
        assert "error" not in deploys.deploy(revision * 40, workers=workers)
    assert deploys.systemd.doubled == []
    with_processes(deploys)


@pytest.mark.parametrize(
    ("dying", "phase"), [("app_blog_jobs@2.service", "start"), ("app_blog_alone@2.service", "switch")]
)
def test_a_worker_that_falls_leaves_the_old_release_with_its_own(
    deploys: Host, dying: str, phase: str
) -> None:
    deploys.deploy("a" * 40, **PROCESSES)
    deploys.systemd.dying.add(dying)
    outcome = deploys.deploy("b" * 40, **{**PROCESSES, "schedule": {"hourly": "hourly"}})
    assert outcome["phase"] == phase
    assert f"{dying} does not keep running: auto-restart, result exit-code, exit status 1" in outcome["error"]
    assert "No module named celery" in outcome["error"]
    assert str(deploys.state.live_release()).endswith("aaaaaaa")
    with_processes(deploys)


def test_a_first_release_whose_worker_falls_leaves_nothing(deploys: Host) -> None:
    deploys.systemd.dying.add("app_blog_alone@1.service")
    assert "does not keep running" in deploys.deploy(**PROCESSES)["error"]
    assert unit_names.all_units("blog") == []
    assert deploys.systemd.running == set()


@pytest.mark.parametrize("server", ["uwsgi", "gunicorn"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("then", ["again", "another", "rollback"])
def test_wherever_a_deploy_is_killed_nothing_runs_twice(
    deploys: Host, server: str, moment: str, then: str
) -> None:
    """At each single call of systemctl, until a deploy makes fewer calls than that."""
    processes = {**PROCESSES, "server": server} if server == "uwsgi" else {"server": server, **PROCESSES}
    digits = iter("123456789abcdef0" * 8)
    deploys.deploy("0" * 39 + "f", **processes)
    for call in range(1, 60):
        deploys.next_run()
        deploys.systemd.kill_at = (call, moment)
        revision = f"{call:02d}" + next(digits) * 38
        try:
            deploys.deploy(revision, **processes, fingerprint=f"2:{call}")
        except Killed:
            pass
        else:
            assert call > 10
            return
        deploys.next_run()
        if then == "rollback":
            outcome = deploys.rollback()
            if "there is no earlier good release" in str(outcome.get("error")):
                outcome = deploys.deploy(revision, **processes, fingerprint=f"2:{call}")
        else:
            chosen = revision if then == "again" else f"{call:02d}" + "e" * 38
            outcome = deploys.deploy(chosen, **processes, fingerprint=f"2:{call}")
        assert "error" not in outcome, (call, outcome)
        if server == "uwsgi":
            with_processes(deploys)
        else:
            deploys.settled()
        assert not [unit for unit in deploys.systemd.doubled if "alone" in unit], call
    raise AssertionError("a deploy does not end")
