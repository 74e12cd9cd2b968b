"""Render the items of a file set on the controller, then hand the whole set to the module at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase

from ..plugin_utils.file_set.render import Renderer


class ActionModule(ActionBase):
    _requires_connection = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        renderer = Renderer(
            self._templar,
            self._loader,
            lambda name: str(self._find_needle("templates", name)),
            task_vars or {},
        )
        arguments = {**self._task.args, "files": renderer.render(self._task.args.get("files"))}
        # Contents may be secret, and Ansible would write the module's arguments to the host's journal.
        quiet = {**(task_vars or {}), "ansible_no_target_syslog": True}
        result.update(self._execute_module("emperor.stack.file_set", module_args=arguments, task_vars=quiet))
        if "invocation" in result:
            result["invocation"] = {"module_args": printable(arguments)}
        return result


def printable(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments for a look with -vvv: without contents, which are long and may be secret."""
    files = [
        {**item, "content": f"({len(item['content'])} characters)"} if "content" in item else item
        for item in arguments["files"]
    ]
    return {**arguments, "files": files}
