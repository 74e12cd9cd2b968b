"""Each playbook that writes the configuration of a host's web server writes the same one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.project import ROOT

VARIABLES = ["vars/front.yml", "vars/fleet.yml", "vars/sites.yml"]
SITES = yaml.safe_load((ROOT / "playbooks/vars/sites.yml").read_text()).keys()


def plays(path: Path) -> list[dict[str, Any]]:
    return [
        play
        for play in yaml.safe_load(path.read_text())
        if any(isinstance(one, dict) and one.get("role") == "nginx" for one in play.get("roles", []))
    ]


def test_these_playbooks_write_it() -> None:
    writing = [path.stem for path in sorted(ROOT.glob("playbooks/*.yml")) if plays(path)]
    assert writing == ["prune", "remove", "site"] and "nginx_balancers" in SITES


@pytest.mark.parametrize("name", ["prune", "remove", "site"])
def test_the_web_server_is_given_the_same_by_each(name: str) -> None:
    """Behind balancers, a host without lb-ready gets no requests any more, for any of its apps."""
    (play,) = plays(ROOT / f"playbooks/{name}.yml")
    assert [one for one in play["vars_files"] if one in VARIABLES] == VARIABLES
    own = {*play.get("vars", {})}
    for role in play["roles"]:
        own |= {*role.get("vars", {})}
    assert own & SITES == set()
