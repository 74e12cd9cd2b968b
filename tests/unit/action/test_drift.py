"""The questions of `drift` are the tasks of the roles: none may be forgotten, and none may be one that cannot be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleActionFail
from ansible_collections.emperor.stack.plugins.action import drift

from tools.project import ROOT

#: Roles that site.yml runs; the fronts are alternatives.
ROLES = {
    "base",
    "hardening",
    "uwsgi_emperor",
    "postgresql",
    "redis",
    "backup_server",
    "backup",
    "python_apps",
    "tls",
    "nginx",
    "apache",
    "haproxy",
    "keepalived",
}


def tasks(path: Path) -> list[dict[str, Any]]:
    return yaml.safe_load(path.read_text()) or []


def flat(of: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the tasks of blocks in the place of those."""
    parts = ("block", "rescue", "always")
    return [
        one
        for task in of
        for one in (
            [task] if "block" not in task else flat([t for part in parts for t in task.get(part, [])])
        )
    ]


def listed() -> set[tuple[str, str]]:
    """What site.yml asks hosts and balancers about, by role and file."""
    found: set[tuple[str, str]] = set()
    for playbook in ("site.yml", "balancers.yml"):
        asked = [
            (one["role"], one["tasks"])
            for play in tasks(ROOT / "playbooks" / playbook)
            for task in play.get("pre_tasks", [])
            if "emperor.stack.drift" in task
            for one in task["emperor.stack.drift"]["of"]
        ]
        assert asked, f"{playbook} asks for no drift"
        front = {(role, name) for role, name in asked if "front_server" in role}
        found |= {*asked} - front | {(role, name) for _, name in front for role in ("nginx", "apache")}
    return found


def test_every_task_that_can_be_asked_is_asked() -> None:
    there = set()
    for path in ROOT.glob("roles/*/tasks/*.yml"):
        for module, arguments in drift.asked(flat(tasks(path))):
            # The other phases do, and do not ask, or are of playbooks of their own.
            if arguments.get("phase") in (None, "prepare" if module == "certificates" else "plan"):
                there.add((path.parents[1].name, path.stem))
    assert there == listed()
    assert {role for role, _ in there} == ROLES


def test_what_a_task_asks_beyond_what_is_wanted_is_known() -> None:
    left_out = set()
    for role, name in listed():
        for module, arguments in drift.asked(tasks(ROOT / f"roles/{role}/tasks/{name}.yml")):
            left_out |= {f"{module}: {key}" for key in arguments.keys() - set(drift.QUERIES[module])}
    # How a change is checked before it goes live, how it is made, and where files of the controller are.
    assert {one for one in left_out if not one.startswith("release: ")} == {
        "file_set: validate",
        "file_set: verify",
        "file_set: aside",
        "file_set: apply",
        "certificates: phase",
    }
    assert {one for one in left_out if one.startswith("release: ")} == {
        f"release: {key}"
        for key in (
            "phase",
            "then",
            "fleet",
            "break_lock",
            "keep_releases",
            "keep_warm",
            "uv_environment",
            "interpreters",
        )
    }


def test_a_task_with_a_loop_cannot_be_asked() -> None:
    task = {"name": "Write", "emperor.stack.file_set": {"name": "a", "files": []}, "loop": [1]}
    with pytest.raises(AnsibleActionFail, match="Write: a task with a loop"):
        list(drift.asked([task]))


def test_a_task_in_a_block_cannot_be_asked() -> None:
    task = {"name": "Write", "emperor.stack.file_set": {"name": "a", "files": []}}
    with pytest.raises(AnsibleActionFail, match="Write all: tasks in a block"):
        list(drift.asked([{"name": "Write all", "block": [task]}]))


def test_the_packages_of_both_web_servers_are_asked_for() -> None:
    front = yaml.safe_load((ROOT / "playbooks/vars/front.yml").read_text())["__front_packages"]
    defaults = yaml.safe_load((ROOT / "roles/apache/defaults/main.yml").read_text())["apache_packages"]
    assert f"apache_packages | default({defaults})" in front
    (site,) = (play for play in tasks(ROOT / "playbooks/site.yml") if play["name"] == "Converge the hosts")
    assert "__front_packages" in site["vars"]["base_extra_packages"]


def test_a_role_without_the_template_says_so(tmp_path: Path) -> None:
    with pytest.raises(AnsibleActionFail, match=r"there is no .*/templates/none\.j2"):
        drift.found(tmp_path, "templates", "none.j2")
