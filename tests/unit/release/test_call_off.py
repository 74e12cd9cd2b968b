"""A deploy or a rollback that went well here, and that another host calls off."""

from __future__ import annotations

import os

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.release.options import Options
from ansible_collections.emperor.stack.plugins.module_utils.release.phases import phases_of
from ansible_collections.emperor.stack.plugins.module_utils.systemd import unit_names

from .playing import PHASES_OF_A_DEPLOY, Host, Killed

REASON = "web2: start: blog@2 was not healthy"
WORKERS = {"jobs": {"count": 1, "overlap": True}, "alone": {"count": 1, "overlap": False}}


def up_to(deploys: Host, phase: str, revision: str, **changes: object) -> None:
    """A deploy of *revision* whose phase *phase* was the last one."""
    deploys.revision = revision
    assert deploys.phase("plan", **changes)["action"] == "deploy"
    for name in PHASES_OF_A_DEPLOY[: PHASES_OF_A_DEPLOY.index(phase) + 1]:
        assert "error" not in deploys.phase(name, action="deploy", **changes)


@pytest.mark.parametrize("phase", ["prepare", "migrate", "start", "switch"])
def test_the_release_that_was_live_before_is_so_again(deploys: Host, phase: str) -> None:
    deploys.deploy("a" * 40, workers=WORKERS)
    before = str(deploys.state.live_release())
    up_to(deploys, phase, "b" * 40, workers=WORKERS)
    release = str(deploys.state.lock().release)  # type: ignore[union-attr]
    outcome = deploys.phase("call_off", called_off=REASON)
    assert outcome["error"].startswith(f"called off: {REASON}\n{before} keeps serving.")
    assert (deploys.state.live_release(), deploys.vassals()) == (before, ["blog@1"])
    deploys.settled()
    last = deploys.state.history()[-1]
    assert (last["phase"], last["result"], last["reason"]) == ("call_off", "called off", REASON)
    # Its workers run, and only its.
    running = {unit for unit, _, _ in unit_names.activation_units("blog")}
    assert running == {"app_blog_jobs@1.service", "app_blog_alone@1.service"}
    # It is as good as before: the next run takes it, and no rollback goes there.
    manifest = deploys.state.manifest(release)
    assert manifest and (manifest.status, manifest.switched, manifest.live_as) == ("prepared", 0.0, 0)
    assert deploys.state.previous_good() is None
    deploys.next_run()
    assert deploys.phase("plan", workers=WORKERS)["ready"] == release
    assert deploys.phase("prepare", action="deploy", workers=WORKERS)["reused"] is True


def test_a_switch_is_taken_back_before_the_new_activation_is_drained(
    deploys: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploys.deploy("a" * 40)
    up_to(deploys, "switch", "b" * 40)
    live: list[str | None] = []
    real = deploys._drain
    deploys.calls.clear()

    def drain(app: str, activation: str, timeout: float) -> bool:
        live.append(deploys.state.live_activation())
        return real(app, activation, timeout)

    pytest.MonkeyPatch().setattr(
        "ansible_collections.emperor.stack.plugins.module_utils.release.lifecycle.drain", drain
    )
    deploys.phase("call_off", called_off=REASON)
    assert (live, deploys.calls) == (["blog@1"], ["drain blog@2"])


@pytest.mark.parametrize("phase", ["prepare", "switch"])
def test_where_nothing_was_live_before_nothing_is(deploys: Host, phase: str) -> None:
    up_to(deploys, phase, "a" * 40)
    outcome = deploys.phase("call_off", called_off=REASON)
    assert "nothing was live before, and nothing is now" in outcome["error"]
    assert deploys.state.live_activation() is None and not os.path.lexists(layout.active("blog"))
    assert deploys.vassals() == []


def test_where_the_earlier_activation_has_ended_the_release_stays_and_that_is_said(deploys: Host) -> None:
    deploys.deploy("a" * 40)
    up_to(deploys, "switch", "b" * 40)
    os.unlink(f"{layout.vassals('a')}/blog@1.ini")
    outcome = deploys.phase("call_off", called_off=REASON)
    assert "blog@1, which was live before, has ended meanwhile" in outcome["error"]
    assert deploys.state.live_activation() == "blog@2" and "blog@2" in deploys.vassals()
    assert deploys.state.lock() is None
    assert deploys.status(deploys.state.live_release()) == "good"


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize("phase", ["rollback", "start", "switch"])
def test_a_rollback_leaves_everything_as_it_was(deploys: Host, phase: str, warm: bool) -> None:
    for revision in "abc":
        deploys.deploy(revision * 40)
    if not warm:
        os.unlink(f"{layout.vassals('a')}/blog@2.ini")
    before = {m.release: (m.status, m.live_as, m.switched) for m in deploys.state.manifests()}
    live, target = deploys.state.live_release(), deploys.state.previous_good()
    assert target is not None
    names = phases_of("rollback", alone=True)
    for name in names[: names.index(phase) + 1]:
        assert "error" not in deploys.phase(name, to_release=target.release)
    deploys.phase("call_off", called_off=REASON)
    assert deploys.state.live_release() == live
    assert {m.release: (m.status, m.live_as, m.switched) for m in deploys.state.manifests()} == before
    assert deploys.state.previous_good() == target
    assert deploys.state.lock() is None


@pytest.mark.parametrize("killed", [False, True])
def test_a_release_that_was_rolled_back_is_held_again(deploys: Host, killed: bool) -> None:
    deploys.deploy("a" * 40)
    deploys.deploy("b" * 40)
    bad = str(deploys.state.live_release())
    deploys.rollback()
    for name in ("rollback", "start", "switch"):
        assert "error" not in deploys.phase(name, to_release=bad)
    if killed:
        deploys.next_run()
        deploys.phase("rollback")
    deploys.phase("call_off", called_off=REASON)
    assert deploys.status(bad) == "rolled_back"
    deploys.revision = "b" * 40
    assert deploys.phase("plan")["action"] == "held"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_call_off_that_is_killed_is_finished_by_the_next_run(deploys: Host, when: str) -> None:
    deploys.deploy("a" * 40, workers=WORKERS)
    up_to(deploys, "switch", "b" * 40, workers=WORKERS)
    deploys.systemd.calls.clear()
    deploys.systemd.kill_at = (1, when)
    with pytest.raises(Killed):
        deploys.phase("call_off", called_off=REASON)
    deploys.next_run()
    assert deploys.phase("plan", workers=WORKERS)["action"] in ("deploy", "finish")
    deploys.deploy("b" * 40, workers=WORKERS)
    deploys.settled()
    assert str(deploys.state.live_release()).endswith("-bbbbbbb")


def test_a_rollback_that_a_later_run_finishes_can_still_be_taken_back(deploys: Host) -> None:
    for revision in "abc":
        deploys.deploy(revision * 40)
    before = {m.release: (m.status, m.live_as, m.switched) for m in deploys.state.manifests()}
    target = deploys.state.previous_good()
    assert target is not None
    for name in phases_of("rollback", alone=True)[:-1]:
        assert "error" not in deploys.phase(name, to_release=target.release)
    deploys.next_run()
    assert deploys.phase("rollback")["release"] == target.release
    deploys.phase("call_off", called_off=REASON)
    assert {m.release: (m.status, m.live_as, m.switched) for m in deploys.state.manifests()} == before


def test_nobody_else_calls_a_deploy_off(deploys: Host) -> None:
    deploys.deploy("a" * 40)
    up_to(deploys, "start", "b" * 40)
    deploys.options = Options(owner={"token": "boot/ns/7/7", "who": "eve@desk"})
    assert "a deploy is under way" in deploys.phase("call_off", called_off=REASON)["error"]
    assert deploys.vassals() == ["blog@1", "blog@2"]


@pytest.mark.parametrize("phase", ["prepare", "migrate", "start"])
def test_a_release_that_a_dead_run_has_not_switched_to_stays_live(deploys: Host, phase: str) -> None:
    """The dead run wanted another release, and the inventory is back at the one that is live."""
    deploys.deploy("a" * 40)
    before = deploys.state.live_release()
    up_to(deploys, phase, "b" * 40)
    deploys.next_run()
    deploys.revision = "a" * 40
    assert deploys.phase("plan")["action"] == "finish"
    for name in PHASES_OF_A_DEPLOY[: PHASES_OF_A_DEPLOY.index("switch") + 1]:
        assert "error" not in deploys.phase(name, action="finish")
    outcome = deploys.phase("call_off", called_off=REASON)
    assert f"{before} keeps serving" in outcome["error"]
    assert deploys.state.live_release() == before and deploys.status(before) == "good"
    assert "blog@1" in deploys.vassals()


def test_what_a_dead_run_has_not_switched_to_is_not_switched_back_to(deploys: Host) -> None:
    deploys.deploy("a" * 40)
    up_to(deploys, "start", "b" * 40)
    deploys.next_run()
    deploys.revision = "a" * 40
    for name in ("prepare", "migrate", "start"):
        deploys.phase(name, action="finish")
    deploys.breaks["front"] = RuntimeError("nginx does not answer")
    error = deploys.phase("switch", action="finish")["error"]
    assert "nginx does not answer" in error and "Switched back" not in error
    assert "drain blog@1" not in deploys.calls and deploys.state.live_activation() == "blog@1"
