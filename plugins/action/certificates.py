"""Controller side of `emperor.stack.certificates`: add the files and the credentials that each app is to have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.action import ActionBase

from ..plugin_utils.controller.bundle import bundle_root
from ..plugin_utils.controller.native import to_native


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        root = Path(arguments.pop("root", None) or bundle_root((task_vars or {})["playbook_dir"]))
        credentials = arguments.pop("dns_environment", None) or {}
        if "apps" in arguments:
            arguments["apps"] = completed(arguments["apps"], credentials, root, self._loader)
        # The module's arguments hold keys and credentials, and Ansible would write them to the host's journal.
        quiet = {**(task_vars or {}), "ansible_no_target_syslog": True}
        result = self._execute_module("emperor.stack.certificates", module_args=arguments, task_vars=quiet)
        # Keys and credentials went in.
        result.pop("invocation", None)
        return dict(result)


def completed(
    apps: Iterable[Mapping[str, Any]], credentials: Mapping[str, Any], root: Path, loader: DataLoader
) -> list[dict[str, Any]]:
    """*apps* as the host is to have them: with the text of their files below *root*, and the variables of their DNS
    provider among *credentials*. Raises AnsibleActionFail where a file cannot be read."""

    def text(path: Path) -> str:
        try:
            with open(loader.get_real_file(str(path)), encoding="ascii") as file:
                return file.read()
        except (AnsibleError, OSError, ValueError) as error:
            raise AnsibleActionFail(f"{path} cannot be read as PEM: {error}") from error

    apps_of_host: list[dict[str, Any]] = []
    for app in to_native(apps):
        if app["provider"] == "files":
            files = app["files"]
            apps_of_host.append(
                {**app, **{name: text(root / files[name]) for name in ("certificate", "key")}}
            )
        elif app.get("dns_provider"):
            apps_of_host.append({**app, "environment": to_native(credentials.get(app["dns_provider"]) or {})})
        else:
            apps_of_host.append(dict(app))
    return apps_of_host
