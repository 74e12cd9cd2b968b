"""The lock of an app: what its file says, who may take it, and when."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from dataclasses import fields, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.release import lock as release_lock
from ansible_collections.emperor.stack.plugins.module_utils.release.lock import Lock, Locked, Owner
from ansible_collections.emperor.stack.plugins.module_utils.release.state import AppState

R1 = "20261121T100000-abcdef1"
OWNER: Owner = {"token": "boot/ns/1/2", "who": "ann@laptop", "controller": "laptop"}
OTHER: Owner = {"token": "boot/ns/3/4", "who": "bob@desk", "controller": "desk"}


# Its file


#: As commit 42dc1c2 left it where a rollback died after its switch.
FORMER = {
    **{"token": "boot/ns/1/2", "who": "ann@laptop", "controller": "laptop", "phase": "switch"},
    **{"since": "2026-11-30T10:00:00Z", "started": 1795946400.5, "kind": "rollback", "release": R1},
    **{
        "activation": "blog@7",
        "warm": False,
        "previous": "blog@8",
        "switched": "blog@7",
        "milliseconds": None,
    },
    **{"took": {"start": 1, "switch": 0.25}, "expires": "2026-11-30T10:30:00Z", "expires_at": 1795948200.25},
}


def test_a_lock_of_an_earlier_version_is_understood(state: AppState) -> None:
    Path(state.lock_path).write_text(json.dumps(FORMER))
    held = state.lock()
    assert held == Lock(**{**FORMER, "milliseconds": None})  # type: ignore[arg-type]
    assert (held.kind, held.release, held.previous, held.took["start"]) == ("rollback", R1, "blog@8", 1)
    assert held.boot == ""


#: What this version writes, by what a run has come to: the names and kinds of an earlier version, which may read it.
WRITTEN = {
    **{"token": str, "who": str, "controller": str, "since": str, "started": float, "started_uptime": float},
    **{"phase": str, "expires": str, "expires_at": float, "boot": str, "expires_uptime": float},
}


@pytest.mark.parametrize(
    ("progress", "more"),
    [
        ({}, {}),
        ({"release": R1, "took": {"fetch": 1.5}}, {"release": str, "took": dict}),
        (
            {"kind": "rollback", "release": R1, "activation": "blog@7", "warm": True},
            {"kind": str, "release": str, "activation": str, "warm": bool},
        ),
        (
            {"previous": "blog@6", "switched": "blog@7", "milliseconds": 0.5},
            {"previous": str, "switched": str, "milliseconds": float},
        ),
    ],
    ids=["taken", "prepared", "a rollback", "switched"],
)
def test_the_file_says_what_it_always_has(
    state: AppState, progress: dict[str, Any], more: dict[str, type]
) -> None:
    state.take_lock(OWNER, [], False, **progress)
    content = json.loads(Path(state.lock_path).read_text())
    assert {name: type(value) for name, value in content.items()} == {**WRITTEN, **more}
    assert content.items() >= {**OWNER, "phase": "prepare", **progress}.items()
    assert state.lock() == Lock.of(content)


@pytest.mark.parametrize("odd", [None, True, 5, "x", [], {}, {"a": "b"}], ids=repr)
def test_what_is_of_another_kind_is_not_said(odd: Any) -> None:
    """Nothing of a damaged file ends a run which has to take it over."""
    lock = Lock.of({one.name: odd for one in fields(Lock)})
    for one in fields(Lock):
        value = getattr(lock, one.name)
        assert value == getattr(Lock(), one.name) or value == odd
    assert isinstance(str(Locked("blog", lock)), str)
    assert isinstance(lock.seconds, float)
    assert isinstance(lock.has_expired, bool)
    assert isinstance(lock.took, dict)


def test_what_a_later_version_says_is_passed_over() -> None:
    assert Lock.of({"who": "ann", "tomorrow": 1}) == Lock(who="ann")


# Who may take it


def test_a_lock_is_held_against_others_and_names_its_holder(state: AppState) -> None:
    assert state.take_lock(OWNER, [], False) is None
    with pytest.raises(Locked) as refused:
        state.take_lock(OTHER, [], False)
    assert "ann@laptop on laptop" in str(refused.value)
    assert refused.value.holder.since in str(refused.value)
    assert "break_lock=true" in str(refused.value)
    assert refused.value.holder.token == OWNER["token"]
    assert state.held_lock(OWNER["token"]).who == "ann@laptop"


@pytest.mark.parametrize(
    ("dead", "break_lock", "age", "taken"),
    [
        ([], False, 0, False),
        (["boot/ns/9/9"], False, 0, False),
        ([OWNER["token"]], False, 0, True),
        ([], True, 0, True),
        ([], False, release_lock.LOCK_SECONDS - 60, False),
        ([], False, release_lock.LOCK_SECONDS + 60, True),
    ],
    ids=["alive", "another is dead", "dead", "broken", "nearly expired", "expired"],
)
def test_who_may_take_a_lock_over(
    state: AppState, monkeypatch: pytest.MonkeyPatch, dead: list[str], break_lock: bool, age: int, taken: bool
) -> None:
    state.take_lock(OWNER, [], False)
    state.write_lock(replace(state.held_lock(OWNER["token"]), release=R1))
    later = release_lock.uptime() + age
    monkeypatch.setattr(release_lock, "uptime", lambda: later)
    if taken:
        left = state.take_lock(OTHER, dead, break_lock)
        assert left
        assert left.release == R1
        with pytest.raises(Locked):
            state.held_lock(OWNER["token"])
    else:
        with pytest.raises(Locked):
            state.take_lock(OTHER, dead, break_lock)


YEAR = 365 * 86400.0
SHORT, LONG = release_lock.LOCK_SECONDS - 60.0, release_lock.LOCK_SECONDS + 60.0


@pytest.mark.parametrize(
    ("clock", "waited", "boot", "up", "expired"),
    [
        (0, SHORT, "same", None, False),
        (YEAR, SHORT, "same", None, False),
        (-YEAR, LONG, "same", None, True),
        # After a reboot the time since that counts too, as the lock is older than the boot.
        (0, SHORT, "other", 60.0, False),
        (0, LONG, "other", 60.0, True),
        (-YEAR, SHORT, "other", 60.0, False),
        (-YEAR, LONG, "other", LONG, True),
        # The lock of an earlier version of the bundle knows the clock alone.
        (0, SHORT, "unknown", LONG, False),
        (0, LONG, "unknown", LONG, True),
    ],
    ids=[
        *("fresh", "the clock leaps ahead", "old, and the clock was set back"),
        *("fresh, after a boot", "old, after a boot", "a clock behind, after a boot", "up for long enough"),
        *("of an earlier version, fresh", "of an earlier version, old"),
    ],
)
def test_when_a_lock_expires(
    state: AppState,
    monkeypatch: pytest.MonkeyPatch,
    clock: float,
    waited: float,
    boot: str,
    up: float | None,
    expired: bool,
) -> None:
    """*clock*: by how much it was set; *waited*: how long the holder was not heard of; *up*: the time since the boot."""
    state.take_lock(OWNER, [], False)
    held = state.held_lock(OWNER["token"])
    if boot == "unknown":
        held = replace(held, boot="", expires_uptime=0.0)
    later, since_boot = time.time() + waited + clock, up or release_lock.uptime() + waited
    monkeypatch.setattr(release_lock.time, "time", lambda: later)
    monkeypatch.setattr(release_lock, "uptime", lambda: since_boot)
    if boot == "other":
        monkeypatch.setattr(release_lock, "boot_id", lambda: "of another boot")
    assert held.has_expired is expired


@pytest.mark.parametrize("value", [None, "soon", [], {}])
def test_a_time_that_is_none_is_long_past(value: Any) -> None:
    assert Lock.of({"expires_at": value}).has_expired
    assert Lock.of({"boot": release_lock.boot_id(), "expires_uptime": value}).has_expired


def test_how_long_a_deploy_took_does_not_follow_the_clock(
    state: AppState, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.take_lock(OWNER, [], False)
    later = time.time() - YEAR
    monkeypatch.setattr(release_lock.time, "time", lambda: later)
    assert 0 <= state.held_lock(OWNER["token"]).seconds < 60
    # Of an earlier version, by the clock, and never less than nothing.
    assert Lock(started=later + YEAR).seconds == 0
    assert Lock(started=later - 7).seconds == 7
    assert Lock().seconds == 0


def test_the_same_run_may_take_its_lock_again(state: AppState) -> None:
    state.take_lock(OWNER, [], False)
    state.take_lock(OWNER, [], False)


def test_a_lock_that_was_broken_and_given_back_is_noticed(state: AppState) -> None:
    state.take_lock(OWNER, [], False)
    state.unlock()
    state.unlock()
    with pytest.raises(Locked, match="this deploy's lock was broken"):
        state.held_lock(OWNER["token"])


@pytest.mark.parametrize("content", ["", "{", "[1]", "3"])
def test_an_unreadable_lock_is_nobodys(state: AppState, content: str) -> None:
    Path(state.lock_path).write_text(content)
    assert state.lock() is None
    state.take_lock(OWNER, [], False)


def _work(apps: str, pipe: Connection) -> None:
    layout.APPS = apps
    with AppState("blog").working(1):
        pipe.send("in")
        time.sleep(30)


def test_one_process_works_on_an_app_and_its_death_frees_it(state: AppState) -> None:
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe()
    process = context.Process(target=_work, args=(layout.APPS, theirs), daemon=True)
    process.start()
    try:
        assert mine.poll(5)
        state.take_lock(OTHER, [], False)
        with pytest.raises(Locked, match="bob@desk"), state.working(0.2):
            pass
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        with state.working(2):
            pass
    finally:
        process.kill()
        process.join()


def test_two_threads_of_a_process_exclude_each_other_too(state: AppState) -> None:
    with state.working(1), pytest.raises(Locked), AppState("blog").working(0):
        pass
    with state.working(0):
        pass


def test_an_app_that_the_host_does_not_have_is_said_with_what_to_do(state: AppState) -> None:
    with (
        pytest.raises(OSError, match=r"is not set up on the host: run site\.yml"),
        AppState("shop").working(),
    ):
        pass
