"""Controller side of `emperor.stack.certificates`: add the files and the credentials that each app is to have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

from ..plugin_utils.plain import plain
from .check_apps import bundle_root


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        root = Path(arguments.pop("root", None) or bundle_root((task_vars or {})["playbook_dir"]))
        credentials = plain(arguments.pop("dns_environment", None) or {})
        if "apps" in arguments:
            arguments["apps"] = [self._complete(app, root, credentials) for app in plain(arguments["apps"])]
        # The module's arguments hold keys and credentials, and Ansible would write them to the host's journal.
        quiet = {**(task_vars or {}), "ansible_no_target_syslog": True}
        result = self._execute_module("emperor.stack.certificates", module_args=arguments, task_vars=quiet)
        # Keys and credentials went in.
        result.pop("invocation", None)
        return dict(result)

    def _complete(self, app: Mapping[str, Any], root: Path, credentials: Mapping[str, Any]) -> dict[str, Any]:
        if app["provider"] == "files":
            files = app["files"]
            return {**app, **{name: self._text(root / files[name]) for name in ("certificate", "key")}}
        if app.get("dns_provider"):
            return {**app, "environment": credentials.get(app["dns_provider"]) or {}}
        return dict(app)

    def _text(self, path: Path) -> str:
        try:
            with open(self._loader.get_real_file(str(path)), encoding="ascii") as file:
                return file.read()
        except (AnsibleError, OSError, ValueError) as error:
            raise AnsibleActionFail(f"{path} cannot be read as PEM: {error}") from error
