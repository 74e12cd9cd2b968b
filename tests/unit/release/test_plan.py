"""When an app needs a new release."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.release import lifecycle, plan
from ansible_collections.emperor.stack.plugins.module_utils.release import venv as release_venv
from ansible_collections.emperor.stack.plugins.module_utils.release.options import Options
from ansible_collections.emperor.stack.plugins.module_utils.release.state import Manifest

from .playing import MINE, Host


@pytest.mark.parametrize(
    ("changes", "python", "force", "why"),
    [
        ({}, "3.11", False, None),
        ({"revision": "b" * 40}, "3.11", False, "revision aaaaaaa is live, bbbbbbb is wanted"),
        ({"fingerprint": f"2:{'g' * 64}"}, "3.11", False, "its settings changed"),
        (
            {},
            "3.13",
            False,
            "it was built for Python 3.11, 3.13 is wanted; the versions of its venv are kept if possible",
        ),
        ({"own_server": release_venv.OWN_SERVER}, "3.11", False, None),
        (
            {"own_server": "pyuwsgi==2.0.29"},
            "3.11",
            False,
            f"its own uWSGI is pyuwsgi==2.0.29, {release_venv.OWN_SERVER} is wanted",
        ),
        ({}, "3.11", True, "forced"),
    ],
)
def test_differences(
    manifest: Callable[..., Manifest], changes: dict[str, str], python: str, force: bool, why: str | None
) -> None:
    wanted = {"revision": "a" * 40, "fingerprint": f"2:{'f' * 64}", **changes}
    live = manifest("r", own_server=wanted.pop("own_server", ""))
    found = plan.difference(live, wanted["fingerprint"], wanted["revision"], python, force)
    assert found == why
    assert plan.difference(None, "f", "a", python, force) == "nothing is live"


def test_a_live_activation_without_a_vassal_is_deployed_anew(deploys: Host) -> None:
    deploys.deploy()
    os.unlink(lifecycle.vassal_path("a", "blog@1"))
    assert deploys.phase("plan")["why"] == "blog@1 has no vassal"
    assert "error" not in deploys.deploy()
    assert deploys.state.live_activation() == "blog@2"


@pytest.mark.parametrize("force", [False, True])
def test_what_was_rolled_back_is_held(deploys: Host, force: bool) -> None:
    deploys.deploy("a" * 40)
    deploys.deploy("b" * 40)
    deploys.rollback()
    deploys.options = Options(owner=MINE, force=force)
    plan = deploys.phase("plan")
    assert plan["action"] == ("deploy" if force else "held")
    if not force:
        assert "was rolled back" in plan["why"]
        assert "-e app=blog -e force=true" in plan["why"]
        assert deploys.phase("plan", fingerprint=f"2:{'g' * 64}")["action"] == "deploy"
        assert deploys.phase("plan", python="3.12")["action"] == "deploy"
        assert deploys.phase("plan", python="3.11")["action"] == "held"
