"""Releases that an earlier version made: known again, each exactly, and asked about once.

To be deleted with plugins/plugin_utils/release/format_1.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.action import release as action
from ansible_collections.emperor.stack.plugins.module_utils.release import build, takeover, workers
from ansible_collections.emperor.stack.plugins.module_utils.release.lock import Locked
from ansible_collections.emperor.stack.plugins.module_utils.release.options import Options
from ansible_collections.emperor.stack.plugins.module_utils.release.phases import run_phase
from ansible_collections.emperor.stack.plugins.module_utils.release.state import AppState

LIVE, OTHER = "20261122T100000-aaaaaaa", "20261122T110000-bbbbbbb"
FORMER, ELSE, TODAY = "f" * 64, "e" * 64, f"2:{'f' * 64}"
HELD = "rolled_back"


@pytest.fixture(autouse=True)
def host_s_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "wanted_python", lambda spec: "3.11")


def plan(former: str | None = None, check_mode: bool = False, revision: str = "a" * 40) -> dict[str, Any]:
    spec = {"name": "blog", "source": {"path": "x"}, "digest": revision, "fingerprint": TODAY}
    spec |= {} if former is None else {"former": former}
    return run_phase("plan", [spec], Options(check_mode=check_mode))["blog"]


def fingerprints(state: AppState) -> dict[str, str]:
    return {manifest.release: manifest.fingerprint for manifest in state.manifests()}


@pytest.mark.parametrize(
    ("former", "then", "written"),
    [(FORMER, "none", TODAY), (ELSE, "deploy", FORMER), ("", "deploy", FORMER)],
    ids=["unchanged", "changed", "of no such release"],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_what_is_live(
    state: AppState, save: Any, run_activation: Any, former: str, then: str, written: str, check_mode: bool
) -> None:
    save(LIVE, status="good", fingerprint=FORMER)
    run_activation(LIVE, "blog@1", live=True)
    assert plan(check_mode=check_mode)["action"] == "compare"
    assert fingerprints(state) == {LIVE: FORMER}
    outcome = plan(former, check_mode)
    assert outcome["action"] == then
    # Who only looks at the manifest's format has changed nothing.
    assert bool(outcome.get("changed")) is (then == "deploy")
    assert fingerprints(state) == {LIVE: FORMER if check_mode else written}
    if not check_mode:
        assert plan()["action"] == ("none" if then == "none" else "compare")


def test_all_that_match_are_written_and_no_others(state: AppState, save: Any, run_activation: Any) -> None:
    rows = {
        LIVE: ("good", FORMER, TODAY),
        "20261121T100000-ccccccc": ("good", FORMER, TODAY),
        "20261121T110000-ccccccc": ("good", ELSE, ELSE),
        "20261121T120000-ccccccc": ("prepared", FORMER, TODAY),
        "20261121T130000-ccccccc": (HELD, FORMER, TODAY),
        "20261121T140000-ccccccc": ("failed", FORMER, FORMER),
        "20261121T150000-ccccccc": ("good", TODAY, TODAY),
    }
    for release, (status, before, _) in rows.items():
        save(release, status=status, fingerprint=before)
    run_activation(LIVE, "blog@1", live=True)
    statuses = {manifest.release: manifest.status for manifest in state.manifests()}
    plan(FORMER)
    assert fingerprints(state) == {release: after for release, (_, _, after) in rows.items()}
    assert {manifest.release: manifest.status for manifest in state.manifests()} == statuses


@pytest.mark.parametrize(("former", "then"), [(FORMER, "held"), (ELSE, "deploy"), ("", "deploy")])
def test_what_was_rolled_back_stays_away(
    state: AppState, save: Any, run_activation: Any, former: str, then: str
) -> None:
    """The live one is another revision, and need not be compared; the one that was left has to be."""
    save(LIVE, status="good", fingerprint=FORMER, revision="0" * 40)
    save(OTHER, status=HELD, fingerprint=FORMER)
    run_activation(LIVE, "blog@1", live=True)
    assert plan()["action"] == "compare"
    assert plan(former)["action"] == then
    if then == "held":
        assert plan()["action"] == "held"


@pytest.mark.parametrize(
    ("live", "other"),
    [
        ({"fingerprint": TODAY}, {"fingerprint": FORMER, "status": HELD}),
        ({"fingerprint": TODAY, "revision": "0" * 40}, {"fingerprint": FORMER, "status": "good"}),
        ({"fingerprint": FORMER, "revision": "0" * 40}, {"fingerprint": TODAY, "status": HELD}),
        (
            {"fingerprint": FORMER, "revision": "0" * 40},
            {"fingerprint": FORMER, "status": HELD, "revision": "1" * 40},
        ),
    ],
    ids=["live is what is wanted", "nothing that counts", "known already", "of another revision"],
)
def test_nobody_asks_about_what_is_not_compared(
    save: Any, run_activation: Any, live: dict[str, str], other: dict[str, str]
) -> None:
    save(LIVE, status="good", **live)
    save(OTHER, **other)
    run_activation(LIVE, "blog@1", live=True)
    assert plan()["action"] != "compare"


def test_a_first_deploy_asks_nothing(state: AppState) -> None:
    assert plan()["action"] == "deploy"


def test_a_run_that_died_under_the_earlier_version_is_finished(
    state: AppState, save: Any, run_activation: Any
) -> None:
    save(LIVE, status="good", fingerprint=FORMER)
    run_activation(LIVE, "blog@1", live=True)
    owner = {"token": "boot/ns/1/1", "who": "ann@laptop", "controller": "laptop"}
    state.take_lock(owner, [], False, release=LIVE)
    assert plan()["action"] == "compare"
    assert plan(FORMER)["action"] == "finish"


def test_what_the_earlier_version_prepared_is_used(
    state: AppState, save: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(OTHER, status="prepared", fingerprint=FORMER)
    assert plan()["action"] == "compare"
    assert plan(FORMER)["action"] == "deploy"
    monkeypatch.setattr(workers, "follow", lambda state: None)
    spec = {"name": "blog", "source": {"path": "x"}, "revision": "a" * 40, "fingerprint": TODAY}
    spec |= {"domains": ["blog.example.com"], "persistent_directories": []}
    options = Options(owner={"token": "boot/ns/1/1", "who": "ann@laptop", "controller": "laptop"})
    assert run_phase("prepare", [spec], options)["blog"] == {
        "release": OTHER,
        "changed": True,
        "reused": True,
    }


def test_while_a_deploy_works_on_them_manifests_are_left_alone(
    state: AppState, save: Any, run_activation: Any
) -> None:
    save(LIVE, status="good", fingerprint=FORMER)
    run_activation(LIVE, "blog@1", live=True)
    with state.working():
        began = time.monotonic()
        assert plan(FORMER)["action"] == "none"
        assert time.monotonic() - began < 60
        with pytest.raises(Locked), state.working(seconds=0):
            pass
    assert fingerprints(state) == {LIVE: FORMER}
    assert plan()["action"] == "compare"


def test_a_host_without_the_app_s_directories(state: AppState, host: Any) -> None:
    takeover.adopt(AppState("nobody"), {"former": FORMER, "fingerprint": TODAY})


# At the controller


@pytest.mark.parametrize(
    ("found", "spec", "again"),
    [
        ({"action": "none"}, {}, False),
        ({"action": "compare"}, {}, True),
        ({"action": "compare"}, {"former": ""}, False),
        ({"error": "x"}, {}, False),
    ],
)
def test_who_is_asked_again(found: dict[str, Any], spec: dict[str, str], again: bool) -> None:
    specs = [{"name": "blog", **spec}, {"name": "shop"}]
    result = {"apps": {"blog": found, "shop": {"action": "none"}}}
    assert action.unanswered(result, specs) == (specs[:1] if again else [])


def test_a_module_that_failed_is_not_asked_again() -> None:
    assert action.unanswered({"failed": True, "msg": "x"}, [{"name": "blog"}]) == []
