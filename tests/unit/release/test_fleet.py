"""What becomes of an app on all of its hosts, by what each of them answered."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.release import fleet
from ansible_collections.emperor.stack.plugins.plugin_utils.release.shared import Shared

NOW = "20261201T100000"
A, B = "a" * 40, "b" * 40
MOVED = "its version is not the same commit on all hosts (aaaaaaa on web1, bbbbbbb on web2). Run the playbook again"


def deploy(**more: Any) -> dict[str, Any]:
    return {"action": "deploy", "revision": A, **more}


def none(**more: Any) -> dict[str, Any]:
    return {"action": "none", "revision": A, **more}


def called_off(phase: str, *outcomes: Any) -> str | None:
    """Why blog is called off after *phase*; an outcome that is text is that of a whole host."""
    hosts = [f"web{number}" for number in range(1, len(outcomes) + 1)]
    phases = ["plan", "prepare", "migrate", "start", "switch", "drain"]
    passed = phases[: phases.index(phase) + 1]
    results = {}
    for host, outcome in zip(hosts, outcomes, strict=True):
        if isinstance(outcome, str):
            results[host] = {"stopped": outcome, "apps": {"blog": deploy()}, "phases": passed[:-1]}
        elif outcome is None:
            results[host] = {}
        else:
            results[host] = {"apps": {"blog": outcome} if outcome else {"shop": deploy()}, "phases": passed}
    return fleet.verdict({"blog": hosts}, results, phase, NOW)["called_off"].get("blog")


@pytest.mark.parametrize(
    ("phase", "outcomes", "reason"),
    [
        ("prepare", [deploy(), deploy()], None),
        ("prepare", [deploy(), none()], None),
        ("prepare", [deploy(), deploy(error="prepare: no module\nmore")], "web2: prepare: no module"),
        ("prepare", [deploy(error="x"), deploy(error="y")], None),
        ("plan", [deploy(), {"action": "held", "why": "r1 was rolled back"}], "web2: r1 was rolled back"),
        ("plan", [none(), {"action": "held", "why": "r1 was rolled back"}], None),
        ("plan", [none(), None], None),
        ("plan", [deploy(), None], "web2 does not answer: it is unreachable, or failed earlier in this run"),
        ("plan", [deploy(), {}], "web2: the app could not be set up there"),
        ("plan", [deploy(), deploy(revision=B)], MOVED),
        ("plan", [deploy(), {"action": "none", "live_revision": B}], MOVED),
        ("start", [deploy(), "no route to host"], "web2 did not come to the end of phase start: no route to host"),
        ("migrate", [deploy(), deploy(done=["migrate"])], None),
    ],
)  # fmt: skip
def test_an_app_goes_on_where_all_of_its_hosts_passed(phase: str, outcomes: Any, reason: str | None) -> None:
    assert called_off(phase, *outcomes) == reason


def test_a_host_that_kept_an_older_result_did_not_pass() -> None:
    """ansible keeps what was registered before, where a host becomes unreachable."""
    older = {"apps": {"blog": deploy()}, "phases": ["plan", "prepare"]}
    newer = {"apps": {"blog": deploy()}, "phases": ["plan", "prepare", "migrate"]}
    found = fleet.verdict({"blog": ["web1", "web2"]}, {"web1": newer, "web2": older}, "migrate", NOW)
    assert found["called_off"]["blog"].startswith("web2 did not come to the end of phase migrate")


def test_an_app_that_is_called_off_holds_no_other() -> None:
    results = {
        "web1": {"apps": {"blog": deploy(), "shop": deploy()}, "phases": ["plan"]},
        "web2": {"apps": {"blog": deploy(error="x"), "shop": deploy()}, "phases": ["plan"]},
    }
    hosts = ["web1", "web2"]
    found = fleet.verdict({"blog": hosts, "shop": hosts}, results, "plan", NOW)
    assert (list(found["called_off"]), list(found["names"])) == (["blog"], ["shop"])


OLD = "20261130T090000-aaaaaaa"


@pytest.mark.parametrize(
    ("outcomes", "name"),
    [
        ([deploy(), deploy()], f"{NOW}-aaaaaaa"),
        # A host that missed a deploy gets the release that the others have.
        ([none(live=OLD), deploy(live="20261129T090000-ccccccc")], OLD),
        ([none(live=OLD), none(live="20261130T090001-aaaaaaa"), deploy()], f"{NOW}-aaaaaaa"),
        # A killed run had switched on one of them.
        ([deploy(ready=OLD), deploy(action="finish", live=OLD)], OLD),
        ([deploy(ready=OLD), deploy()], OLD),
        # Its name is taken there by a release that is not to be touched.
        ([deploy(ready=OLD), deploy(taken=[OLD])], f"{NOW}-aaaaaaa"),
        ([deploy(taken=[f"{NOW}-aaaaaaa"]), deploy()], "20261201T100001-aaaaaaa"),
        ([none(live="../../etc"), deploy()], f"{NOW}-aaaaaaa"),
    ],
)
def test_a_release_has_one_name_on_all_hosts(outcomes: list[dict[str, Any]], name: str) -> None:
    assert fleet.name(outcomes, NOW) == name


def test_the_first_host_of_the_inventory_migrates_unless_each_does() -> None:
    for host, migrate_on, told in (
        ("web1", "first", {}),
        ("web2", "first", {"migrated_on": "web1"}),
        ("web2", "each", {}),
    ):
        spec: Any = {}
        verdict: Any = {"apps": {"blog": ["web1", "web2"]}}
        Shared(host, verdict).told([spec], [{"name": "blog", "migrate_on": migrate_on}])
        assert spec == told
    # As declared, in a phase that needs the name alone: a start that fails says who has migrated.
    declared: Any = {}
    Shared("web2", {"apps": {"blog": ["web1", "web2"]}}).told([declared], [{"name": "blog"}])
    assert declared == {"migrated_on": "web1"}
    alone: Any = {}
    Shared("web2", {}).told([alone], [{"name": "blog", "migrate_on": "first"}])
    assert alone == {}


def test_a_host_that_has_begun_nothing_is_told_why_it_does_not_begin() -> None:
    verdict: Any = {"apps": {"blog": ["web1", "web2"]}, "called_off": {"blog": "web2: x", "shop": "y"}}
    shared = Shared("web1", verdict)
    before = {"changed": True, "phases": ["plan"], "apps": {"blog": deploy(live=OLD), "shop": none()}}
    assert shared.nothing_was_begun(before)
    assert not shared.nothing_was_begun({**before, "phases": ["plan", "prepare"]})
    assert shared.refused(before) == {
        # Its other apps go on.
        "changed": True,
        "apps": {"blog": {"error": f"called off: web2: x\n{OLD} keeps serving.", "phase": "call_off"}},
        "phases": [],
    }


def test_a_host_that_stays_has_nothing_to_do_in_a_rollback() -> None:
    verdict: Any = {"targets": {"blog": {"web1": "r1", "web2": None}}}
    before = {"phases": ["choose"], "apps": {"blog": {"from": "r2", "changed": True}}}
    stays = Shared("web2", verdict).with_those_that_stay(before)["apps"]["blog"]
    assert stays["action"] == "none" and "from" not in stays
    assert Shared("web1", verdict).with_those_that_stay(before) == before
    spec: Any = {}
    Shared("web1", verdict).told([spec], [{"name": "blog"}])
    assert spec == {"to_release": "r1"}


def test_what_is_called_off_and_what_is_not_are_never_in_the_same_phase() -> None:
    shared = Shared("web1", {"called_off": {"blog": "x"}})
    apps = [{"name": "blog"}, {"name": "shop"}]
    assert shared.concerned(apps, ["call_off"]) == [{"name": "blog"}]
    assert shared.concerned(apps, ["start"]) == [{"name": "shop"}]
