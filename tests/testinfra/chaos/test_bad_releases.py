"""Ten ways in which a release can be bad: users see nothing of it, and the message names the cause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from deploying import Repository, Stack, figure, load
from testinfra.host import Host

GOOD = "from pathlib import Path\nimport six\n"
APP = """
def application(environ, start_response):
    start_response("{status}", [("Content-Type", "text/plain")])
    return [b"the database is on fire"]
"""


@dataclass(frozen=True)
class Bad:
    name: str
    #: What the message must say.
    cause: str
    files: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


WAYS = [
    Bad("syntax_error", "SyntaxError", {"app.py": "def application(environ start_response):\n"}),
    Bad(
        "missing_dependency",
        "No module named 'flask'",
        {"app.py": "import flask\n" + APP.format(status="200 OK")},
    ),
    Bad(
        "failing_migration",
        "no such table: notes",
        settings={"migrate": "echo 'no such table: notes' >&2; exit 1"},
    ),
    Bad("error_on_the_health_path", "the database is on fire", {"app.py": APP.format(status="500 Oops")}),
    Bad("hang_at_import", "still running after 15 s", {"app.py": "import time\ntime.sleep(3600)\n"}),
    # The code is found in the release before, by a path that somebody wrote into the app.
    Bad(
        "answers_of_the_old_release",
        "comes from another release",
        {
            "app.py": "import sys\nsys.path.insert(0, '/srv/apps/bare/active/release/code')\n"
            "from old import application\n",
        },
    ),
    Bad(
        "out_of_memory",
        "MemoryError",
        {
            "app.py": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (300 * 2**20,) * 2)\nhoard = b'x' * 2**30\n"
        },
    ),
    Bad(
        "wrong_python",
        "does not satisfy Python>=3.99",
        {"pyproject.toml": "[project]\nname = 'bare'\nversion = '1'\nrequires-python = '>=3.99'\n"},
        {"requirements": "pyproject.toml"},
    ),
    Bad("broken_ini_value", "processes", settings={"web": {"processes": 5000, "threads": 2}}),
    Bad(
        "wrong_permissions",
        "Permission denied",
        {"app.py": "open('/srv/apps/bare/state/serial').read()\n"},
    ),
]


@pytest.fixture(scope="module")
def noticed() -> list[str]:
    """The ways in which users saw something or nobody was told; empty in the end."""
    return []


@pytest.mark.parametrize("bad", WAYS, ids=lambda bad: bad.name)
def test_a_bad_release_is_kept_from_users(
    bad: Bad, machine: Host, stack: Stack, bare: Repository, noticed: list[str]
) -> None:
    noticed.append(bad.name)
    before = stack.status("bare")
    bare.back_to("v0")
    if bad.name == "answers_of_the_old_release":
        # The live release needs a module for the bad one to steal.
        bare.version("with-old", {"old.py": APP.format(status="200 OK")})
        bare.push()
        stack.apps[0]["source"]["version"] = "with-old"
        stack.good("site.yml")
        before = stack.status("bare")
        bare.back_to("v0")
    bare.version(bad.name, bad.files)
    bare.push()
    app = stack.apps[0]
    app.update(bad.settings)
    try:
        with load(machine, "bare.localhost", ["/healthz", "/version"], rate=100) as result:
            outcome = stack.deploy("bare", bad.name)
    finally:
        for name in bad.settings:
            del app[name]
    after = stack.status("bare")
    assert outcome.code != 0
    # Ansible folds long lines.
    assert bad.cause in " ".join(outcome.output.split()), outcome.output[-4000:]
    assert "=> generated" not in outcome.output, "the log is that of the app, not of the probes"
    if bad.name == "error_on_the_health_path":
        assert "It logged no traceback" in outcome.output
    assert result.failed == 0, result.failures()
    assert result.releases == {before["live"]["release"]}
    assert after["live"] == before["live"]
    assert after["lock"] is None
    noticed.remove(bad.name)


def test_none_was_noticed(noticed: list[str], stack: Stack) -> None:
    figure("bad_releases_noticed", f"{len(noticed)}/{len(WAYS)}")
    assert not noticed
    # The last failed release is kept for a look, the earlier ones are pruned.
    assert len([r for r in stack.status("bare")["releases"] if r["status"] == "failed"]) == 1


def test_a_run_without_changes_changes_nothing_after_all_that(stack: Stack) -> None:
    said = stack.good("site.yml").output
    assert "changed=0 " in said, said[-3000:]


def test_a_good_release_goes_through_after_all_that(stack: Stack) -> None:
    stack.good("playbooks/deploy.yml", app="bare", version="v1")
    assert stack.ask("bare.localhost", "/version") == "v1"


def test_the_playbook_says_what_the_host_says(stack: Stack) -> None:
    """The other tests ask the host itself."""
    said, told = stack.status("bare"), stack.told_status("bare")
    for status in (said, told):
        # They move while one looks.
        for activation in status["activations"]:
            for name in ("busy", "requests", "memory_mib"):
                del activation[name]
    # The playbook adds what is the host's: it has no backups.
    assert told == {**said, "backup": None}
    assert told["live"]["version"] == "v1"
