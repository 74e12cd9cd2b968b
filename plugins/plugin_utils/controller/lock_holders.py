"""The controller's half of an app's lock: who holds one, and whether that run has ended.

The lock lies on the host and names the run that holds it. Only the controller of that run can see that its process is gone;
so each action whose module meets a lock is an `ActionWithLocks`, which asks once more where the holder turns out to be dead.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ...module_utils.host.processes import is_dead
from . import held_runs


def playbook_process() -> int:
    """The process id of ansible-playbook, which this worker was forked from.

    Not `os.getppid()`: when ansible-playbook was killed, that is whoever adopted the worker, and a lock in the name of init
    would look alive for ever. Raises AnsibleActionFail when ansible-playbook has ended: its orphan must not go on.
    """
    parent = multiprocessing.parent_process()
    pid = parent.pid if parent is not None and parent.pid is not None else os.getppid()
    if os.path.isdir("/proc/self") and not os.path.isdir(f"/proc/{pid}"):
        raise AnsibleActionFail(
            "the ansible-playbook process that this task belongs to has ended; nothing was done"
        )
    return pid


def dead_holders(result: Mapping[str, Any]) -> dict[str, str]:
    """Apps of a module's *result* that are locked by a run of this machine which has ended, each with that run's token."""
    holders = {
        name: (outcome.get("locked") or {}).get("token")
        for name, outcome in (result.get("apps") or {}).items()
    }
    return {
        name: token
        for name, token in holders.items()
        if isinstance(token, str) and (is_dead(token) or held_runs.has_ended(token))
    }


class ActionWithLocks(ActionBase):
    """The action of a module that meets the locks of apps.

    The module has an option `dead`, tokens of runs that have ended, and answers with `apps`: by name, with `error` and,
    where that is a lock, `locked` with its content.
    """

    _supports_check_mode = True

    def execute(
        self,
        module: str,
        arguments: Mapping[str, Any],
        task_vars: Mapping[str, Any],
        asked_back: Callable[[Mapping[str, Any]], list[str]] = lambda result: [],
    ) -> dict[str, Any]:
        """Run *module*; and again for the apps of which it has to know more, such as that a run is dead.

        *asked_back* gives the apps of a result about which the module asked something else, and puts the answers into
        *arguments*.
        """
        result: dict[str, Any] = self._execute_module(
            module, module_args=dict(arguments), task_vars=dict(task_vars)
        )
        # Once for what else the module asks back, and once where a run died.
        for _ in range(2):
            dead = dead_holders(result)
            names = [name for name in result.get("apps") or {} if name in dead] + asked_back(result)
            if not names:
                break
            again = {**self.again(arguments, names), "dead": sorted(set(dead.values()))}
            second = self._execute_module(module, module_args=again, task_vars=dict(task_vars))
            result = merged(result, second)
        return result

    def again(self, arguments: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
        """The module's arguments for the apps *names* alone."""
        return {**arguments, "apps": [app for app in arguments["apps"] if app["name"] in names]}


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a call and of its repetition for some of the apps."""
    apps = {**first.get("apps", {}), **second.get("apps", {})}
    errors = [name for name, outcome in apps.items() if outcome.get("error")]
    result = {
        **second,
        "apps": apps,
        "changed": bool(first.get("changed") or second.get("changed")),
        "failed": bool(errors) or (bool(second.get("failed")) and "apps" not in second),
    }
    if errors:
        result["msg"] = f"{', '.join(errors)} failed"
    elif not result["failed"]:
        result.pop("msg", None)
    return result
