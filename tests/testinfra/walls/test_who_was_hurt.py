"""The end: everything hostile is removed without its help, and nobody else has noticed anything."""

from __future__ import annotations

import contextlib
import json
import os
import signal

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from appsite import eventually
from deploying import figure
from walls.conftest import Visits
from walls.contents import CONTENTS
from walls.ground import NEIGHBOUR, Ground, play, results, shown
from walls.test_running import SAYS, counted, statistics_of

LEAST_ATTEMPTS = 60


@pytest.fixture(scope="module")
def removed(grounds: list[Ground]) -> dict[str, str]:
    """What the runs said that remove all hostile apps, while the worst of them answers nonsense and leaves what it can."""
    for ground in grounds:
        ground.as_hostile("prepare_against_removal", directory=f"{layout.shared('hostile')}/data")
        ground.as_hostile("answers", says=SAYS, answer={"text": json.dumps({"workers": 7, "pid": "x"})})
        ground.as_hostile(
            "take_statistics", stats=statistics_of(ground, "hostile"), says=SAYS, seconds=300, master=0
        )
        ground.as_hostile("leave_processes", mark="walls-removal")
    views = play(grounds, "playbooks/status.yml")
    for ground in grounds:
        output = views[ground.name].output
        wrong = "" if views[ground.name].code == 0 and NEIGHBOUR in output else output[-2000:]
        with contextlib.suppress(AssertionError):  # the table says it, and the removal goes on
            ground.note(9, "playbooks/status.yml beside nonsense", "it tells of the neighbour", wrong)
    for ground in grounds:
        _die_in_a_deploy(ground)
    hostile = ["hostile", *(content.name for content in CONTENTS)]
    for ground in grounds:
        ground.stack.apps = [app for app in ground.stack.apps if app["name"] not in hostile]
    outcomes = play(grounds, "playbooks/remove.yml", app=",".join(hostile), patience=600)
    return {ground.name: outcomes[ground.name].output for ground in grounds}


def _die_in_a_deploy(ground: Ground) -> None:
    """A run of this controller that is killed while it has the hostile app's lock."""
    run = ground.stack.start("playbooks/deploy.yml", app="hostile", force=True)
    try:
        eventually(
            lambda: ground.as_root("state", apps=["hostile"])["hostile"]["lock"], 90, "it has the lock"
        )
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()


def test_what_is_hostile_is_removed_without_its_help(ground: Ground, removed: dict[str, str]) -> None:
    hostile = ["hostile", *(content.name for content in CONTENTS)]
    there = ground.as_root("state", apps=hostile)
    left = [name for name, one in there.items() if one["user"] or one["live"]]
    running = {app: found for app, found in ground.as_root("processes", apps=hostile).items() if found}
    places = ground.host.run("ls -d " + " ".join(f"/srv/apps/{name}" for name in hostile)).stdout.split()
    wrong = (
        shown([left, list(running), places, removed[ground.name][-1000:]], 1500)
        if left or running or places
        else ""
    )
    ground.note(9, f"removal of {len(hostile)} hostile apps", "all of them are gone", wrong)
    ground.note(19, "removal right after a run that died with the lock", "it is gone", wrong)


def test_the_neighbour_and_the_host_serve_on(ground: Ground, removed: dict[str, str]) -> None:
    assert ground.ask(NEIGHBOUR) == (200, NEIGHBOUR.encode())
    assert ground.ask("fresh")[0] == 200
    failed = ground.host.check_output(
        "systemctl list-units --state=failed --plain --no-legend 'app*' 'emperor*' nginx.service"
    )
    assert failed == ""


def test_no_line_of_others_was_lost(grounds: list[Ground], removed: dict[str, str]) -> None:
    found = [one for ground in grounds for one in counted(ground)]
    lost, kept = sum(missing for *_, missing in found), sum(count for _, count, _ in found)
    figure("journal_lines_lost_by_others", f"{lost}/{lost + kept}")
    assert len({name for name, _, _ in found}) == 2
    assert lost == 0


def test_no_visitor_of_the_neighbour_noticed(visits: Visits, removed: dict[str, str]) -> None:
    loads = visits.end()
    failed, total = (sum(getattr(one, name) for one in loads.values()) for name in ("failed", "total"))
    figure("walls_neighbour_failed_requests", f"{failed}/{total}")
    assert total > 1000
    assert failed == 0, "\n".join(one.failures() for one in loads.values())


def test_the_table_of_all_attempts() -> None:
    width = max(len(one.name) for one in results.values())
    for (host, _), one in sorted(results.items(), key=lambda item: (item[1].row, item[1].name, item[0])):
        said = one.problem and f"GOT THROUGH: {one.problem}"
        print(f"  {one.row:>2}  {host}  {one.name:<{width}}  {said or one.answered}")
    held = [one for one in results.values() if not one.problem]
    figure("walls_held", f"{len(held)}/{len(results)}")
    assert len({one.name for one in results.values()}) >= LEAST_ATTEMPTS
    assert len(held) == len(results)
