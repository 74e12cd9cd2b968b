"""The controller's half of locks: whom it calls dead, and that no module which meets a lock goes without it."""

from __future__ import annotations

import ast
import importlib
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.emperor.stack.plugins.action import app_removal as removal
from ansible_collections.emperor.stack.plugins.module_utils.host import processes
from ansible_collections.emperor.stack.plugins.plugin_utils.controller import lock_holders as locks

from tools.project import ROOT

# Who is dead


def test_this_process_lives() -> None:
    assert not processes.is_dead(processes.process_token(os.getpid()))


def test_a_child_lives_until_it_is_killed_even_where_nobody_waits_for_it() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        token = processes.process_token(child.pid)
        assert not processes.is_dead(token)
        child.kill()
        # Not waited for yet, as the child of a controller that does not look: a zombie.
        until = time.monotonic() + 5
        while not processes.is_dead(token) and time.monotonic() < until:
            time.sleep(0.02)
        assert processes.is_dead(token)
        child.wait()
        assert processes.is_dead(token)


def test_a_number_that_was_given_to_another_process() -> None:
    token = processes.process_token(os.getpid())
    assert processes.is_dead(token.rpartition("/")[0] + "/1")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "garbage",
        "//",
        "///",
        "a/b/c/d",
        f"{socket.gethostname()}//1/",
        f"{socket.gethostname()}//{os.getpid()}/",
        "other-boot/pid:[1]/999999/5",
    ],
    ids=[
        "empty",
        "a word",
        "two parts",
        "no parts",
        "letters",
        "no start",
        "no start, this one",
        "other boot",
    ],
)
def test_of_whom_nothing_is_known_is_not_dead(token: str) -> None:
    assert not processes.is_dead(token)


def test_another_boot_or_another_namespace_is_not_known() -> None:
    boot, space, pid, started = processes.process_token(os.getpid()).split("/")
    assert not processes.is_dead(f"x{boot}/{space}/{pid}/1")
    assert not processes.is_dead(f"{boot}/pid:[7]/{pid}/1")
    assert processes.is_dead(f"{boot}/{space}/{pid}/{started}1")


def test_a_process_of_another_user_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another user may not read of it must not make it a dead one, whose lock is free to take."""
    parent = os.getppid()
    token = processes.process_token(parent)
    readlink = os.readlink

    def closed(path: str) -> str:
        if str(parent) in str(path):
            raise PermissionError(path)
        return readlink(path)

    def refused(pid: int, number: int) -> None:
        raise PermissionError(pid)

    monkeypatch.setattr(processes.os, "readlink", closed)
    monkeypatch.setattr(processes.os, "kill", refused)
    assert not processes.is_dead(token)
    assert processes.is_dead(token + "1")


def test_a_process_that_cannot_be_looked_at_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    token = processes.process_token(os.getppid())
    here = processes.process_token(os.getpid())

    def hidden(pid: int) -> list[str]:
        raise FileNotFoundError(pid)

    monkeypatch.setattr(processes, "process_token", lambda pid: here)
    monkeypatch.setattr(processes, "_stat", hidden)
    assert not processes.is_dead(token)


@pytest.mark.parametrize(
    "apps",
    [
        {},
        None,
        {"a": {"error": "x"}},
        {"a": {"locked": None}},
        {"a": {"locked": {}}},
        {"a": {"locked": {"token": "garbage"}}},
        {"a": {"locked": {"token": None}}},
    ],
)
def test_holders_that_name_no_process(apps: dict[str, Any] | None) -> None:
    assert locks.dead_holders({"apps": apps}) == {}


@pytest.mark.parametrize(
    ("first", "second", "failed", "message"),
    [
        ({"apps": {"a": {"error": "e"}, "b": {}}}, {"apps": {"a": {}}, "msg": "old"}, False, None),
        ({"apps": {"a": {"error": "e"}, "b": {"error": "f"}}}, {"apps": {"a": {}}}, True, "b failed"),
        ({"apps": {"a": {"error": "e"}}}, {"failed": True, "msg": "gone"}, True, "a failed"),
    ],
)
def test_a_second_try_is_merged(
    first: dict[str, Any], second: dict[str, Any], failed: bool, message: str | None
) -> None:
    merged = locks.merged({**first, "changed": True}, second)
    assert (merged["failed"], merged.get("msg"), merged["changed"]) == (failed, message, True)
    assert set(merged["apps"]) == set(first["apps"])


def test_a_worker_knows_the_run_that_forked_it() -> None:
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    worker = context.Process(target=lambda: queue.put(locks.playbook_process()))
    worker.start()
    worker.join(30)
    assert queue.get() == os.getpid()


def test_a_worker_whose_run_was_killed_does_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parent by then is init, and a lock in the name of init would look alive for ever."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait(30)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: SimpleNamespace(pid=gone.pid))
    with pytest.raises(AnsibleActionFail, match="has ended; nothing was done"):
        locks.playbook_process()


# Asking again

ALIVE = processes.process_token(os.getpid())
DEAD = ALIVE.rpartition("/")[0] + "/1"


class Plain(locks.ActionWithLocks):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        raise NotImplementedError


def asking(
    kind: type[locks.ActionWithLocks], answers: list[dict[str, Any]]
) -> tuple[Any, list[dict[str, Any]]]:
    """An action whose module gives *answers*, and the arguments that it was called with."""
    calls: list[dict[str, Any]] = []

    def execute(name: str, module_args: dict[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        calls.append(module_args)
        return answers[len(calls) - 1]

    plugin = object.__new__(kind)
    plugin._execute_module = execute
    return plugin, calls


def locked(token: str) -> dict[str, Any]:
    return {"error": "a deploy is under way", "locked": {"token": token}}


def test_only_where_the_holder_is_dead_it_is_asked_again() -> None:
    first = {"apps": {"a": locked(ALIVE), "b": locked(DEAD), "c": {}}, "failed": True, "msg": "a, b failed"}
    plugin, calls = asking(Plain, [first, {"apps": {"b": {"x": 1}}, "changed": True}])
    given = {"apps": [{"name": name} for name in "abc"], "other": 1}
    result = plugin.execute("m", given, {})
    assert calls == [given, {"apps": [{"name": "b"}], "other": 1, "dead": [DEAD]}]
    assert result["apps"] == {"a": locked(ALIVE), "b": {"x": 1}, "c": {}}
    assert (result["failed"], result["changed"], result["msg"]) == (True, True, "a failed")


def test_where_nobody_is_dead_once_is_enough() -> None:
    plugin, calls = asking(Plain, [{"apps": {"a": locked(ALIVE), "b": {}}, "failed": True}])
    assert plugin.execute("m", {"apps": [{"name": "a"}]}, {})["failed"]
    assert len(calls) == 1


def test_a_lock_that_stays_is_not_asked_about_for_ever() -> None:
    answer = {"apps": {"a": locked(DEAD)}, "failed": True}
    plugin, calls = asking(Plain, [answer] * 9)
    assert plugin.execute("m", {"apps": [{"name": "a"}]}, {})["failed"]
    assert len(calls) == 3


def test_a_removal_asks_again_about_what_the_host_had_found_itself() -> None:
    """playbooks/prune.yml names no app."""
    first = {"apps": {"gone": locked(DEAD), "old": locked(DEAD), "other": {}}, "failed": True}
    plugin, calls = asking(removal.ActionModule, [first, {"apps": {"gone": {}, "old": {}}}])
    given = {
        "apps": [{"name": "old", "successor": "new"}],
        "undeclared": True,
        "only": ["new"],
        "archive": True,
    }
    result = plugin.execute("m", given, {})
    assert calls[1] == {
        "apps": [{"name": "gone"}, {"name": "old", "successor": "new"}],
        "undeclared": False,
        "only": ["new"],
        "archive": True,
        "dead": [DEAD],
    }
    assert not result["failed"]


# The rule

#: Modules that meet only the lock which the kernel frees when a process ends, each with the reason.
NO_DEAD_HOLDER = {
    "emperor": "it waits for a phase that works on an app at this moment, and takes no lock of a deploy"
}

MODULES = sorted((ROOT / "plugins/modules").glob("*.py"))


def meets_locks(source: str) -> bool:
    """Whether a module handles an app's lock: by its exception, its functions, or an option for those who are dead."""
    words = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    calls = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
    return "Locked" in words or bool(calls & {"free_lock", "take_lock", "held_lock"}) or '"dead"' in source


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_module_that_meets_a_lock_asks_the_controller_who_is_dead(path: Path) -> None:
    source = path.read_text()
    if not meets_locks(source) or path.stem in NO_DEAD_HOLDER:
        return
    name = "ansible_collections.emperor.stack.plugins.action."
    action = importlib.import_module(name + path.stem).ActionModule
    assert issubclass(action, locks.ActionWithLocks)
    assert "execute" not in vars(action)
    assert '"dead": {"type": "list", "elements": "str", "default": []' in source
    assert '"locked": error.holder.content()' in source or "release.phases" in source


def test_the_rule_sees_the_modules_that_it_is_for() -> None:
    found = {path.stem for path in MODULES if meets_locks(path.read_text())}
    assert {"app_removal", "release"} <= found
    assert found - set(NO_DEAD_HOLDER) == {"app_removal", "release"}
    assert not meets_locks("x = locked()")
    assert meets_locks("from a import Locked\ntry:\n    f()\nexcept (Locked, OSError):\n    pass")


def test_only_the_one_rule_decides_when_a_lock_is_free() -> None:
    """Who reads a lock's holder or its time by himself makes a rule of his own."""
    own = re.compile(r"\bexpires_at\b|\bexpires_uptime\b|\bhas_expired\b|raise Locked\(")
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "plugins").rglob("*.py")
        if own.search(path.read_text())
    }
    assert found == {"plugins/module_utils/release/lock.py"}
