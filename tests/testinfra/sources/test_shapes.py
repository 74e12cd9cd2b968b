"""Apps of every shape go live by their entry alone, in one run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import shapes
from deploying import Outcome, figure
from shapes import one_of
from testinfra.host import Host
from vaulted import Vaulted

#: What each app's venv has to hold, besides what its project is itself; nothing else.
PACKAGES = {
    "poetical": {"six": "1.17.0", "itsdangerous": "2.2.0", "blinker": "1.9.0"},
    "piped": {"six": "1.17.0", "blinker": "1.9.0"},
    "pdmly": {"six": "1.17.0"},
    "pylocked": {"vendored": "1.0"},
    "flat": {"six": "1.17.0", "itsdangerous": "2.2.0", "blinker": "1.9.0"},
    "scmly": {"six": "1.17.0", "scmly": "0+"},
}


def apps(directory: Path) -> list[dict[str, Any]]:
    chosen = {"extras": ["signed"], "groups": ["prod"]}
    scmly = shapes.shape(directory, "scmly", "src/scmly/app.py")
    (scmly / "src/scmly/__init__.py").write_text("")
    return [
        one_of("poetical", shapes.shape(directory, "poetical"), **chosen),
        one_of("piped", shapes.shape(directory, "piped"), groups=["prod"]),
        one_of("pdmly", shapes.flat(directory, "pdmly")),
        one_of("pylocked", shapes.pylocked(directory)),
        one_of("flat", shapes.flat(directory, "flat"), **chosen),
        one_of("scmly", scmly, wsgi="scmly.app:application"),
    ]


@pytest.fixture(scope="module")
def stack(machine: Host, directory: Path) -> Vaulted:
    inventory = Path(os.environ["MOLECULE_INVENTORY_FILE"])
    return Vaulted(machine, inventory, directory, apps(directory), {})


@pytest.fixture(scope="module")
def first(stack: Vaulted) -> Outcome:
    """The run that brings all of them."""
    return stack.good("site.yml")


def told(stack: Vaulted, app: str, path: str) -> dict[str, Any]:
    return dict(json.loads(stack.ask(f"{app}.localhost", path)))


def test_every_file_of_dependencies_fills_the_venv(stack: Vaulted, first: Outcome) -> None:
    wrong = {}
    for app, wanted in PACKAGES.items():
        found = told(stack, app, "/python")["packages"]
        # Of the revision that the directory has; nobody knows it before.
        found = {name: "0+" if version.startswith("0+") else version for name, version in found.items()}
        if found != wanted:
            wrong[app] = found
    figure("dependency_files_read", f"{len(PACKAGES) - len(wrong)}/{len(PACKAGES)}")
    assert not wrong, f"{wrong}\n{first.output[-3000:]}"
    assert stack.host.run("ls -d /srv/apps/*/releases/*/venv/.lock-tool").rc != 0


def test_a_project_that_is_no_package_is_said(first: Outcome) -> None:
    said = " ".join(first.output.split())
    assert "flat: the code itself is not installed as a package" in said
    assert said.count("is not installed as a package") == 1


def test_files_that_nobody_reads_are_named(stack: Vaulted, directory: Path, first: Outcome) -> None:
    code = directory / "shape-piped"
    (code / "requirements.txt").write_text("six==1.16.0\n")
    outcome = stack.play("playbooks/deploy.yml", app="piped")
    said = " ".join(outcome.output.split())
    assert "piped: Pipfile.lock: not read, because requirements.txt is" in said, outcome.output[-3000:]
    (code / "requirements.txt").unlink()
    (code / "Pipfile.lock").unlink()
    (code / "app.py").write_text("import six\n")
    outcome = stack.play("playbooks/deploy.yml", app="piped")
    assert outcome.code != 0
    said = " ".join(outcome.output.split())
    nothing, missing = (
        said.find("nothing was installed, because the code has no file"),
        said.find("No module named"),
    )
    assert 0 < nothing < missing, outcome.output[-3000:]
