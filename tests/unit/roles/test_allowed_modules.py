"""`site.yml` ends a host before its roles where `drift` finds no difference.

So an ordinary task in a role never runs on a converged host: what it would change there is never done, and no other test
sees that.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.emperor.stack.plugins.action import drift

from tools.project import ROOT

#: Modules that cannot change a host.
HARMLESS = {
    "ansible.builtin.assert",
    "ansible.builtin.debug",
    "ansible.builtin.fail",
    "ansible.builtin.meta",
    "ansible.builtin.pause",
    "ansible.builtin.set_fact",
    "emperor.stack.check_apps",
    "emperor.stack.extra_variables",
    "emperor.stack.drift",
    "emperor.stack.host_state",
    "emperor.stack.summary",
}

#: Tasks that change a host by another module than `drift` knows, by file and module: what makes them run when they have to.
JUSTIFIED = {
    ("roles/base/tasks/install.yml", "ansible.builtin.apt"): (
        "site.yml asks host_state for missing packages, and goes on with the roles where there are any"
    ),
    ("roles/hardening/tasks/confirm.yml", "ansible.builtin.command"): (
        "confirms what the file_set before it applied, and only where that changed"
    ),
    ("roles/uwsgi_emperor/tasks/service.yml", "emperor.stack.emperor"): (
        "runs where the file_set before it changed: its `running` asks whether the emperor is out of date"
    ),
    ("roles/python_apps/tasks/deploy.yml", "emperor.stack.emperor"): (
        "runs where role uwsgi_emperor has left apps on an emperor in this run, and that asks for two emperors in every run"
    ),
    ("roles/python_apps/tasks/holds.yml", "emperor.stack.balancer"): (
        "changes balancers and no host: before a host switches, and in a play of release.yml that no host leaves"
    ),
    ("roles/python_apps/tasks/seen.yml", "emperor.stack.balancer"): "asks balancers and changes nothing",
    ("roles/python_apps/tasks/canary.yml", "emperor.stack.balancer"): "asks balancers and changes nothing",
    ("roles/python_apps/tasks/look.yml", "emperor.stack.balancer"): "asks balancers and changes nothing",
    ("roles/haproxy/tasks/share.yml", "emperor.stack.balancer"): (
        "in a play of balancers.yml that no balancer leaves: another balancer knows what this one lacks"
    ),
    ("roles/python_apps/tasks/remove.yml", "emperor.stack.app_removal"): (
        "app_accounts names an absent app that is still there; earlier names are removed in a play that no host leaves"
    ),
}

ADVICE = """
{where} changes hosts with {module}, on the path of playbooks/site.yml.

This task never runs on a host where nothing else differs: site.yml asks `drift` what differs, and ends the host before its
roles when nothing does. Choose one:
 1. Use emperor.stack.file_set: `apply`, `running`, `units`, `present` and `service` do what a further task would do.
 2. Teach `drift` the module: QUERIES in plugins/action/drift.py and in plugins/modules/host_drift.py.
 3. If the result of a task that `drift` asks about starts this one whenever it is needed, add it to JUSTIFIED in
    {test}, with that reason.
 4. If the module cannot change a host, add it to HARMLESS there.
See "Follow the conventions" in docs/development.md.
"""

SECTIONS = ("pre_tasks", "roles", "tasks", "post_tasks", "handlers")
BLOCKS = ("block", "rescue", "always")
INCLUDES = ("include_tasks", "import_tasks", "include_role", "import_role", "import_playbook", "include_vars")
#: Keys of a task that are no module, beside those that begin with `with_`.
KEYWORDS = {
    *BLOCKS, "action", "any_errors_fatal", "args", "async", "become", "become_exe", "become_flags", "become_method",
    "become_user", "changed_when", "check_mode", "collections", "connection", "debugger", "delay", "delegate_facts",
    "delegate_to", "diff", "environment", "failed_when", "ignore_errors", "ignore_unreachable", "listen", "local_action",
    "loop", "loop_control", "module_defaults", "name", "no_log", "notify", "poll", "port", "register", "remote_user",
    "retries", "run_once", "tags", "throttle", "timeout", "until", "vars", "when",
}  # fmt: skip


class Run:
    """All tasks that a run of a playbook can reach, handlers and includes among them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.seen: set[Path] = set()
        #: File, as seen from the root, and module.
        self.found: set[tuple[str, str]] = set()

    def playbook(self, path: Path) -> None:
        for play in self._load(path):
            if imported := play.get("ansible.builtin.import_playbook"):
                self.playbook(path.parent / imported)
            for section in SECTIONS:
                for one in play.get(section, []):
                    if section == "roles":
                        self._role(one["role"], "main")
                    else:
                        self._task(path, one)

    def _load(self, path: Path) -> list[dict[str, Any]]:
        if path in self.seen:
            return []
        self.seen.add(path)
        return yaml.safe_load(path.read_text()) or []

    def _role(self, name: str, tasks: str) -> None:
        role = self.root / "roles" / name
        meta = role / "meta/main.yml"
        for one in (yaml.safe_load(meta.read_text()) if meta.exists() else {}).get("dependencies") or []:
            self._role(one["role"], "main")
        for path in (role / f"tasks/{tasks}.yml", *sorted(role.glob("handlers/*.yml"))):
            for task in self._load(path):
                self._task(path, task)

    def _task(self, path: Path, task: dict[str, Any]) -> None:
        for block in BLOCKS:
            for one in task.get(block, []):
                self._task(path, one)
        for key in task.keys() - KEYWORDS:
            if key.startswith("with_"):
                continue
            self._module(path, task, key)
        for key in ("action", "local_action"):
            if key in task:
                self.found.add((str(path.relative_to(self.root)), key))

    def _module(self, path: Path, task: dict[str, Any], module: str) -> None:
        short = module.removeprefix("ansible.builtin.")
        if short not in INCLUDES:
            self.found.add((str(path.relative_to(self.root)), module))
        elif short.endswith("_tasks"):
            wanted = task[module] if isinstance(task[module], str) else task[module]["file"]
            assert "{{" not in wanted, (
                f"{path}: the test cannot follow include_tasks of {wanted}; name the file"
            )
            for one in self._load(path.parent / wanted):
                self._task(path.parent / wanted, one)
        elif short.endswith("_role"):
            wanted = task[module]
            for name in meant(wanted["name"], (self.root / "roles").iterdir()):
                files = self.root / "roles" / name / "tasks"
                for tasks in meant(
                    wanted.get("tasks_from", "main").removesuffix(".yml"), files.glob("*.yml")
                ):
                    # Not every role that a template could name has each file.
                    if (files / f"{tasks}.yml").exists() or "{{" not in wanted["name"]:
                        self._role(name, tasks)


def meant(text: str, candidates: Iterator[Path]) -> list[str]:
    """The names that *text* may become: itself, or those of the candidates that a template has in quotes; all if none is."""
    if "{{" not in text:
        return [text]
    names = sorted(path.stem for path in candidates)
    quoted = set(re.findall(r"'([^']*)'", text))
    return [name for name in names if name in quoted] or names


def problems(root: Path) -> list[str]:
    """What stands in the way of the rule in the checkout at *root*, each with what to do about it."""
    run = Run(root)
    run.playbook(root / "playbooks/site.yml")
    known = {f"emperor.stack.{name}" for name in drift.QUERIES}
    return [
        ADVICE.format(where=where, module=module, test=Path(__file__).relative_to(ROOT))
        for where, module in sorted(run.found)
        if module not in HARMLESS | known and (where, module) not in JUSTIFIED
    ]


def test_what_changes_a_host_on_the_path_of_site_yml_is_asked_about_by_drift() -> None:
    assert "\n".join(problems(ROOT)) == ""


def test_what_was_justified_is_still_there() -> None:
    run = Run(ROOT)
    run.playbook(ROOT / "playbooks/site.yml")
    assert JUSTIFIED.keys() - run.found == set()
    assert HARMLESS - {module for _, module in run.found} == set()


def test_every_role_is_on_the_path_and_nothing_that_only_other_playbooks_run() -> None:
    run = Run(ROOT)
    run.playbook(ROOT / "playbooks/site.yml")
    seen = {str(path.relative_to(ROOT)) for path in run.seen}
    assert {path.name for path in (ROOT / "roles").iterdir()} == {
        name.split("/")[1] for name in seen if name.startswith("roles/")
    }
    assert "roles/python_apps/tasks/phases.yml" in seen
    assert {"roles/nginx/tasks/report.yml", "roles/apache/tasks/report.yml"} <= seen
    assert not {"roles/python_apps/tasks/rollback.yml", "roles/tls/tasks/restore.yml"} & seen


COMMAND = {"name": "Do it", "ansible.builtin.command": "true"}


@pytest.mark.parametrize(
    ("where", "tasks"),
    [
        ("roles/nginx/tasks/configure.yml", [COMMAND]),
        (
            "roles/apache/tasks/install.yml",
            [{"name": "Do it", "block": [{"name": "All", "block": [COMMAND]}]}],
        ),
        (
            "roles/base/tasks/main.yml",
            [{"name": "Try", "block": [{"ansible.builtin.meta": "noop"}], "rescue": [COMMAND]}],
        ),
        ("roles/tls/handlers/main.yml", [COMMAND]),
        (
            "roles/python_apps/tasks/phases.yml",
            [{**COMMAND, "when": "x", "register": "y", "delegate_to": "z"}],
        ),
        ("roles/hardening/tasks/further.yml", [COMMAND]),
        ("roles/base/tasks/install.yml", [{"name": "Start", "ansible.builtin.service": {"name": "cron"}}]),
        ("roles/base/tasks/install.yml", [{"name": "Start", "action": {"module": "command", "cmd": "true"}}]),
    ],
)
def test_another_module_is_found_wherever_it_hides_and_the_message_says_what_to_do(
    tmp_path: Path, where: str, tasks: list[dict[str, Any]]
) -> None:
    for part in ("playbooks", "roles"):
        shutil.copytree(ROOT / part, tmp_path / part, symlinks=True)
    path = tmp_path / where
    path.parent.mkdir(exist_ok=True)
    before = yaml.safe_load(path.read_text()) if path.exists() else []
    path.write_text(yaml.safe_dump([*before, *tasks]))
    if path.stem == "further":
        main = path.with_name("main.yml")
        main.write_text(
            main.read_text() + "\n- name: More\n  ansible.builtin.include_tasks: {file: further.yml}\n"
        )
    (said,) = problems(tmp_path)
    assert said.strip().startswith(f"{where} changes hosts with ")
    assert "emperor.stack.file_set" in said and "docs/development.md" in said


def test_a_name_that_is_a_template_stands_for_all_that_it_can_become() -> None:
    files = [Path("stay.yml"), Path("remove.yml"), Path("deploy.yml")]
    assert meant("{{ 'stay' if held else 'remove' }}", iter(files)) == ["remove", "stay"]
    assert meant("{{ __front_server }}", iter(files)) == ["deploy", "remove", "stay"]
