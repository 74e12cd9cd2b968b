"""Controller side of `emperor.stack.app_removal`: deal with the locks of dead runs, as deploys do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..plugin_utils.controller.lock_holders import ActionWithLocks, playbook_process


class ActionModule(ActionWithLocks):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        # An orphan of a run that was killed must not take anything away.
        playbook_process()
        try:
            return self.execute("emperor.stack.app_removal", self._task.args, task_vars or {})
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)

    def again(self, arguments: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
        # Those that the host found by itself have no entry.
        given = {app["name"]: app for app in arguments.get("apps") or []}
        return {**arguments, "apps": [given.get(name, {"name": name}) for name in names], "undeclared": False}
