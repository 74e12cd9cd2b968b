"""Which apps a deploy is for, and what the playbooks say of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible.parsing.dataloader import DataLoader
from ansible_collections.emperor.stack.plugins.filter import deploy

ROOT = Path(__file__).resolve().parents[3]
GIT = {"name": "blog", "source": {"git": "https://x.example/blog", "version": "v1"}}
PATH = {"name": "notes", "source": {"path": "x"}}


@pytest.mark.parametrize(
    ("only", "chosen"),
    [("", ["blog", "notes"]), ("blog", ["blog"]), (" notes , blog ,", ["blog", "notes"]), ("shop", [])],
)
def test_choosing_by_name(only: str, chosen: list[str]) -> None:
    assert [app["name"] for app in deploy.choose_apps([GIT, PATH], only)] == chosen


def test_a_version_replaces_the_inventorys_in_a_copy() -> None:
    (app,) = deploy.choose_apps([GIT, PATH], "blog", "v2")
    assert app["source"] == {"git": "https://x.example/blog", "version": "v2"}
    assert GIT["source"]["version"] == "v1"  # type: ignore[index]


@pytest.mark.parametrize(
    ("only", "says"),
    [("", "add -e app=NAME"), ("blog,notes", "add -e app=NAME"), ("notes", "not come from git")],
)
def test_a_version_without_one_git_app(only: str, says: str) -> None:
    with pytest.raises(AnsibleFilterError, match=says):
        deploy.choose_apps([GIT, PATH], only, "v2")


@pytest.mark.parametrize("only", ["", "blog", "blog, notes", "blog,"])
def test_known_names(only: str) -> None:
    assert deploy.check_names(only, ["blog", "notes"]) == only


@pytest.mark.parametrize(
    ("only", "fleet", "says"),
    [
        ("bolg", ["blog", "notes"], "-e app=bolg: .*Did you mean blog?"),
        ("blog,note", ["blog", "notes"], "-e app=note: .*Did you mean notes?"),
        ("zzz", ["notes", "blog"], r"Available: blog, notes\."),
        ("blog", [], r"Available: none\."),
    ],
)
def test_unknown_names(only: str, fleet: list[str], says: str) -> None:
    with pytest.raises(AnsibleFilterError, match=says):
        deploy.check_names(only, fleet)


@pytest.mark.parametrize(
    ("results", "found"),
    [
        ([], []),
        ([{}, {"apps": {"a": {}}}, {"skipped": True}], []),
        ([{"failed": True, "msg": "a failed", "apps": {"a": {"error": "e"}}}], ["a: e"]),
        ([{"apps": {"a": {"error": "e"}}}, {"apps": {"b": {"error": "f"}}}], ["a: e", "b: f"]),
        ([{"failed": True, "msg": "no sudo"}], ["no sudo"]),
        ([{"failed": True, "msg": "MODULE FAILURE", "module_stderr": "Traceback"}], ["Traceback"]),
        ([{"failed": True}], ["a phase failed without a reason"]),
        ([{"failed": True, "stopped": "Traceback", "apps": {"a": {"error": "e"}}}], ["a: e", "Traceback"]),
        ([{"skipped": True, "stopped": "Traceback", "apps": {}}], ["Traceback"]),
    ],
)
def test_errors(results: list[dict[str, Any]], found: list[str]) -> None:
    assert deploy.errors(results) == found


@pytest.mark.parametrize(
    ("hosts", "app", "everywhere", "chosen"),
    [
        (["h0", "h1", "h2"], "blog", False, ["h1"]),
        (["h0", "h1", "h2"], "blog", True, ["h1", "h2"]),
        (["h2", "h1"], "blog", False, ["h2"]),
        (["h0", "h1"], "notes", False, "no host of this run has that app; check --limit"),
        (["h1"], "blog,notes", False, "name one app; a command runs in one app only"),
    ],
)
def test_where_a_command_runs(hosts: list[str], app: str, everywhere: bool, chosen: list[str] | str) -> None:
    variables = {"h0": {}, "h1": {"python_apps": [GIT]}, "h2": {"python_apps": [PATH, GIT]}}
    if isinstance(chosen, list):
        assert deploy.hosts_with(hosts, variables, app, everywhere) == chosen
    else:
        with pytest.raises(AnsibleFilterError, match=chosen):
            deploy.hosts_with(hosts, variables, app, everywhere)


def test_the_status_of_hosts() -> None:
    variables = {"h1": {"__python_apps_status": {"apps": {"a": {"health": "ok"}}}}, "h2": {}}
    assert deploy.status_of_hosts(["h1", "h2"], variables) == {
        "h1": {"a": {"health": "ok", "backup": None}},
        "h2": {},
    }


@pytest.mark.parametrize(
    ("asked", "good", "problems"),
    [
        ({"stdout": '{"good": true, "hours": 7.1, "problems": []}'}, True, []),
        (
            {"stdout": "", "msg": "No such file"},
            False,
            ["the host does not say what became of its backups: No such file"],
        ),
    ],
)
def test_each_app_has_the_last_backup_of_its_host(
    asked: dict[str, Any], good: bool, problems: list[str]
) -> None:
    variables = {"h1": {"__python_apps_status": {"apps": {"a": {}}}, "__backup_status": asked}}
    backup = deploy.status_of_hosts(["h1"], variables)["h1"]["a"]["backup"]
    assert (backup["good"], backup["problems"]) == (good, problems)


def test_a_version_that_the_next_run_takes_back_is_said_with_the_line_to_change(tmp_path: Path) -> None:
    path = tmp_path / "apps.yml"
    path.write_text(
        "python_apps:\n- name: blog\n  source:\n    git: https://git.example.com/blog.git\n    version: v1.4\n"
        "- {name: shop, source: {git: https://git.example.com/shop.git}}\n"
    )
    apps = DataLoader().load_from_file(str(path))["python_apps"]
    place = os.path.relpath(path)
    assert deploy.unkept_version(apps, "blog", "v1.5") == [
        "blog: -e version=v1.5 lasts until the next run: the next run without -e version deploys v1.4 again. "
        f"To keep it, set source.version of blog to v1.5 in {place}, line 5"
    ]
    (line,) = deploy.unkept_version(apps, "shop", "v1.5")
    assert line.endswith(
        "the inventory names no version. To keep it, set source.version of shop to v1.5 in the inventory"
    )
    assert deploy.unkept_version(apps, "blog", "v1.4") == []
    assert deploy.unkept_version(apps, "other", "v1.5") == []


@pytest.mark.parametrize("playbook", ["deploy", "rollback", "status", "run"])
def test_a_misspelt_name_on_the_command_line_is_refused(tmp_path: Path, playbook: str) -> None:
    """Each host has apps of its own, so an app that this host lacks is no mistake; one that no host has is."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        """
app_hosts:
  vars: {ansible_connection: local, ansible_become: false, ansible_python_interpreter: /nonexistent}
  hosts:
    one: {python_apps: [{name: blog, domains: [b.example.com], source: {path: examples/flask}, wsgi: "wsgi:app"}]}
    two: {}
"""
    )
    result = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", inventory, f"playbooks/{playbook}.yml"]
        + ["-e", "app=bolg", *(["-e", "command=id"] if playbook == "run" else [])],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode != 0, result.stdout
    assert (
        "-e app=bolg: no host of this inventory has that app. Did you mean blog?"
        in result.stdout + result.stderr
    )


def test_an_app_that_is_to_go_is_not_chosen() -> None:
    assert deploy.choose_apps([GIT, {"name": "old", "state": "absent"}]) == [GIT]
    assert deploy.choose_apps([{"name": "old", "state": "absent"}], "old", "v2") == []


@pytest.mark.parametrize(
    ("result", "stay"),
    [
        (None, ["a", "b"]),
        ({}, ["a", "b"]),
        ({"apps": {}}, ["a", "b"]),
        ({"apps": {"a": {}, "b": {"changes": ["x"]}}}, ["a", "b"]),
        ({"apps": {"a": {"error": "x"}, "b": {}, "c": {"error": "y"}}}, ["b"]),
    ],
    ids=["not asked", "did not run", "of no app", "all good", "one is not"],
)
def test_what_an_error_leaves_out(result: dict[str, Any] | None, stay: list[str]) -> None:
    found = deploy.without_failed([{"name": "a"}, {"name": "b"}], result)
    assert [app["name"] for app in found] == stay
