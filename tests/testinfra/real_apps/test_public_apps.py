"""Public apps of many shapes: deployed by their entries alone, used, deployed in another version, and rolled back."""

from __future__ import annotations

import re
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from deploying import Outcome, Stack, figure
from public_apps import APPS, Public, fetch_sdists
from testinfra.host import Host
from visitor import Visitor

STAGES = ("the first version", "the second version", "the rollback")


class Life:
    """What became of each app in each stage."""

    def __init__(self, machine: Host, stack: Stack) -> None:
        self.machine, self.stack = machine, stack
        self.wrong: dict[str, list[str]] = {app.name: [] for app in APPS}
        self.passed: set[str] = set()
        self.outcomes: list[Outcome] = []

    def version(self, app: Public) -> str:
        """What the live release has installed, or has as its code where that is no package."""
        release = f"/srv/apps/{app.name}/active/release"
        name = app.package.replace("-", "_")
        installed = f"{release}/venv/lib/python3*/site-packages/{name}-*.dist-info/METADATA"
        told = self.machine.run(f"cat {installed} || cat {release}/code/PKG-INFO").stdout
        found = re.search(r"^Version: (\S+)", told, re.MULTILINE)
        return found[1] if found else "no version of it"

    def look(self, stage: int, wanted: int) -> None:
        def one(app: Public) -> str:
            live = self.version(app)
            if live != app.versions[wanted]:
                return f"{STAGES[stage]}: {app.versions[wanted]} is wanted, and there is {live}"
            try:
                made = [f"note-{number}" for number in range(stage + 1)]
                app.use(Visitor(self.machine, f"{app.name}.localhost"), made[-1], made[:-1])
            except Exception:
                return f"{STAGES[stage]}: {traceback.format_exc(limit=-3)}"
            return ""

        with ThreadPoolExecutor(3) as pool:
            for app, wrong in zip(APPS, pool.map(one, APPS), strict=True):
                self.wrong[app.name] += [wrong] if wrong else []


@pytest.fixture(scope="module")
def life(machine: Host, stack: Stack, directory: Path) -> Life:
    fetch_sdists(directory)
    found = Life(machine, stack)
    stack.secrets.update({app.name: app.secrets for app in APPS})
    for stage, playbook in enumerate(("site.yml", "playbooks/deploy.yml")):
        stack.apps[:] = [app.entry(directory, app.versions[stage]) for app in APPS]
        found.outcomes.append(stack.play(playbook))
        found.look(stage, stage)
    names = ",".join(app.name for app in APPS)
    found.outcomes.append(stack.play("playbooks/rollback.yml", app=names))
    found.look(2, 0)
    return found


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.name)
def test_a_public_app_is_deployed_used_updated_and_rolled_back(life: Life, app: Public) -> None:
    said = "\n".join(
        line for outcome in life.outcomes for line in outcome.output.splitlines() if app.name in line
    )
    journal = life.machine.run(
        "journalctl --namespace=apps -q -o cat -n 40 _UID=$(id -u %s)", app.name
    ).stdout
    assert not life.wrong[app.name], f"{life.wrong[app.name]}\n{said[-4000:]}\n{journal}"
    life.passed.add(app.name)


def test_every_public_app_has_passed(life: Life) -> None:
    figure("real_apps", f"{len(life.passed)}/{len(APPS)}")
    codes = [outcome.code for outcome in life.outcomes]
    assert codes == [0, 0, 0], [outcome.output[-6000:] for outcome in life.outcomes if outcome.code]
    assert len(life.passed) == len(APPS)
