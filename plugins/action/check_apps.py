"""Check python_apps of the whole inventory. Documentation: plugins/modules/check_apps.py."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import Templar, is_trusted_as_template

from ..plugin_utils.controller.bundle import bundle_root, cause
from ..plugin_utils.controller.native import is_undecryptable, to_native
from ..plugin_utils.schema import renamed_variables
from ..plugin_utils.schema.faults import Encrypted, NotNeeded, TemplateLike, Unresolved
from ..plugin_utils.schema.problems.found import APPS, SECRETS, Controller, HostApps, Problem
from ..plugin_utils.schema.problems.inventory import app_count, problems
from ..plugin_utils.services.databases import with_database
from ..plugin_utils.services.problems import problems as service_problems

#: What decides about databases of the fleet.
SERVICE_VARIABLES = ("host_address", "ansible_host", "vault_services_secret", "postgresql_settings")

#: Where a connection goes to. Two hosts that agree in all of them are one machine.
_CONNECTION = (
    "ansible_connection",
    "ansible_host",
    "ansible_port",
    "ansible_ssh_common_args",
    "ansible_docker_host",
)


class ActionModule(ActionBase):
    # One look at the inventory serves all hosts of the play, and none of them is asked anything.
    BYPASS_HOST_LOOP = True
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "root": {"type": "path"},
                "group": {"type": "str", "default": "app_hosts"},
                "used_secrets": {"type": "list", "elements": "str", "default": []},
            }
        )
        root = arguments["root"] or bundle_root(variables["playbook_dir"])
        hostvars = variables["hostvars"]
        hosts = {
            host: {**hostvars.raw_get(host), "hostvars": hostvars}
            for host in variables["groups"].get(arguments["group"], [])
        }
        used = set(arguments["used_secrets"])
        fleet = {host: used_only(self._declared(host_vars), used) for host, host_vars in hosts.items()}
        renamed = {host: self._renamed(host_vars) for host, host_vars in hosts.items()}
        found = problems(fleet, Controller(os.path.abspath(root)))
        unchecked = [problem for problem in found if problem.reason == NotNeeded.reason]
        if wrong := [
            *(problem for problem in found if problem not in unchecked),
            *renamed_variables.contradictions(renamed),
        ]:
            return {"failed": True, "changed": False, "msg": message(wrong), "problem_count": len(wrong)}
        if not unchecked and (wrong := self._of_services(hosts, fleet, variables)):
            return {"failed": True, "changed": False, "msg": message(wrong), "problem_count": len(wrong)}
        outcome = {
            "changed": False,
            "apps": app_count(fleet),
            "hosts": len(fleet),
            "unchecked": len(unchecked),
        }
        warnings = [*renamed_variables.warnings(renamed), *(unread(unchecked) if not used else [])]
        return {**outcome, "warnings": warnings} if warnings else outcome

    def _of_services(
        self,
        hosts: Mapping[str, Mapping[str, Any]],
        fleet: Mapping[str, HostApps],
        variables: Mapping[str, Any],
    ) -> list[Problem]:
        """Problems of the apps' databases, for which the apps themselves have to be valid."""
        hostvars = variables["hostvars"]
        names = variables["groups"].get("databases", [])
        if not names and not any(with_database(host.apps or ()) for host in fleet.values()):
            return []
        raw = {name: hosts.get(name) or {**hostvars.raw_get(name), "hostvars": hostvars} for name in names}
        return service_problems(
            {name: self._services(host) | {APPS: fleet[name].apps} for name, host in hosts.items()},
            {name: self._services(host) for name, host in raw.items()},
        )

    def _services(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """What of a host's *variables* decides about its services."""
        templar = Templar(loader=self._loader, variables=variables)
        return {name: resolved(templar, variables[name]) for name in SERVICE_VARIABLES if name in variables}

    def _renamed(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """What a host has of the variables that have an old and a new name."""
        templar = Templar(loader=self._loader, variables=variables)
        return {
            name: resolved(templar, variables[name]) for name in renamed_variables.NAMES if name in variables
        }

    def _declared(self, variables: Mapping[str, Any]) -> HostApps:
        templar = Templar(loader=self._loader, variables=variables)
        parts = [str(resolved(templar, variables[name])) for name in _CONNECTION if name in variables]
        return HostApps(
            apps=resolved(templar, variables.get(APPS, [])),
            secrets=resolved(templar, no_blocks(variables.get(SECRETS, {}))),
            variables=frozenset(name for name in variables if isinstance(name, str)),
            machine=" ".join(parts) if variables.get("ansible_host") else "",
        )


def resolved(templar: Templar, value: Any) -> Any:
    """*value* with its templates resolved; where one cannot be, a mark stands in its place."""
    if isinstance(value, Unresolved):
        return value
    try:
        return to_native(templar.template(value))
    except AnsibleError as error:
        if isinstance(value, Mapping):
            return {key: resolved(templar, item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [resolved(templar, item) for item in value]
        return Encrypted() if is_undecryptable(error) else Unresolved(cause(error))


def used_only(declared: HostApps, used: set[str]) -> HostApps:
    """*declared*, with undecryptable values marked as not needed where their app is not in *used* ("*": all apps)."""
    if "*" in used:
        return declared
    apps, secrets = declared.apps, declared.secrets
    if isinstance(apps, list):
        apps = [
            app if isinstance(app, Mapping) and app.get("name") in used else _unneeded(app) for app in apps
        ]
    if isinstance(secrets, Mapping):
        secrets = {name: value if name in used else _unneeded(value) for name, value in secrets.items()}
    return replace(
        declared, apps=apps, secrets=secrets if isinstance(secrets, Mapping) else _unneeded(secrets)
    )


def _unneeded(value: Any) -> Any:
    if isinstance(value, Encrypted):
        return NotNeeded()
    if isinstance(value, Mapping):
        return {key: _unneeded(item) for key, item in value.items()}
    return [_unneeded(item) for item in value] if isinstance(value, list) else value


def unread(unchecked: list[Problem]) -> list[str]:
    """A warning that names the *unchecked* values, if there are any."""
    if not unchecked:
        return []
    places = [problem.where for problem in unchecked]
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return [
        f"not checked, because no given vault password decrypts them: {', '.join(places[:3])}{more}. "
        "site.yml and deploy.yml need them"
    ]


def no_blocks(value: Any) -> Any:
    """Secrets with a mark in the place of each that has a Jinja statement or comment in it, by chance and not on purpose.

    An expression may well be meant: one secret is often made of others.
    """
    if isinstance(value, Mapping):
        return {key: no_blocks(item) for key, item in value.items()}
    if isinstance(value, str) and ("{%" in value or "{#" in value) and is_trusted_as_template(value):
        return TemplateLike()
    return value


def message(problems: list[Problem]) -> str:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    listed = "\n\n".join(str(problem) for problem in problems)
    return f"python_apps has {count}; no host was touched.\n\n{listed}\n"
