"""Check python_apps of the whole inventory. Documentation: plugins/modules/check_apps.py."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.template import Templar

from ..plugin_utils.controller.bundle import bundle_root
from ..plugin_utils.schema import renamed_variables
from ..plugin_utils.schema.faults import Encrypted, NotNeeded
from ..plugin_utils.schema.problems.found import APPS, SECRETS, Controller, HostApps, Problem, grouped
from ..plugin_utils.schema.problems.inventory import app_count, problems, shared_apps
from ..plugin_utils.schema.resolving import Resolver
from ..plugin_utils.services.databases import with_services
from ..plugin_utils.services.problems import problems as service_problems
from ..plugin_utils.settings import front, tls

#: The roles of the collection that this file belongs to.
ROLES = Path(__file__).resolve().parents[2] / "roles"

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
        # The values of a whole fleet are in memory, all in use: Python would look through them again and again, for half of
        # the time, and find nothing to free. The process ends with the task.
        gc.disable()
        try:
            return self._checked(task_vars or {})
        finally:
            gc.enable()

    def _checked(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "root": {"type": "path"},
                "group": {"type": "str", "default": "app_hosts"},
                "used_secrets": {"type": "list", "elements": "str", "default": []},
            }
        )
        root = arguments["root"] or bundle_root(variables["playbook_dir"])
        inventory = Inventory(variables["hostvars"], self._loader)
        hosts = variables["groups"].get(arguments["group"], [])
        only_used = UsedOnly(arguments["used_secrets"])
        fleet = {host: only_used(inventory.declared(host)) for host in hosts}
        renamed = {host: inventory.values(host, renamed_variables.NAMES) for host in hosts}
        balanced = bool(variables["groups"].get("balancers"))
        found = problems(fleet, Controller(os.path.abspath(root)), balanced)
        unchecked = [problem for problem in found if problem.reason == NotNeeded.reason]
        wrong = [problem for problem in found if problem not in unchecked] if unchecked else found
        if wrong := [*wrong, *renamed_variables.contradictions(renamed)]:
            return failure("python_apps has", wrong)
        servers = variables["groups"].get("databases", [])
        if not unchecked and (wrong := self._of_services(inventory, fleet, servers)):
            return failure("python_apps has", wrong)
        # The settings of a host that --limit excludes are none of this run's business.
        play = set(variables["ansible_play_hosts_all"])
        apps = {host: declared.apps for host, declared in fleet.items() if host in play}
        if wrong := self._problems_of_settings(inventory, apps):
            return failure("The hosts' settings have", wrong)
        outcome = {
            "changed": False,
            "apps": app_count(fleet),
            "hosts": len(fleet),
            "shared": shared_apps(fleet),
            "unchecked": len(unchecked),
        }
        warnings = [
            *renamed_variables.warnings(renamed),
            *(unread(unchecked) if not arguments["used_secrets"] else []),
        ]
        return {**outcome, "warnings": warnings} if warnings else outcome

    def _of_services(
        self, inventory: Inventory, fleet: Mapping[str, HostApps], servers: list[str]
    ) -> list[Problem]:
        """Problems of the apps' databases, for which the apps themselves have to be valid."""
        if not servers and not any(with_services(host.apps or ()) for host in fleet.values()):
            return []
        return service_problems(
            {host: inventory.values(host, SERVICE_VARIABLES) | {APPS: fleet[host].apps} for host in fleet},
            {host: inventory.values(host, SERVICE_VARIABLES) for host in servers},
        )

    def _problems_of_settings(self, inventory: Inventory, apps: Mapping[str, Any]) -> list[Problem]:
        """Problems with the settings of each host in *apps*, whose apps have no problem."""
        defaults = self._loader.load_from_file(str(ROLES / "tls/defaults/main.yml"), trusted_as_template=True)
        found = []
        for host, wanted in apps.items():
            values = inventory.values(host, (*front.NAMES, *tls.NAMES), defaults)
            for fault in (*front.faults(values, wanted or []), *tls.faults(values, wanted or [])):
                found.append((host, fault))
        return grouped(found)


class Inventory:
    """The variables of all hosts, as far as the check asks for them."""

    def __init__(self, hostvars: Any, loader: Any) -> None:
        self._hostvars = hostvars
        self._loader = loader
        self._plain, self._secrets = Resolver(), Resolver(statements=False)
        self._hosts: dict[str, tuple[dict[str, Any], Templar]] = {}

    def _host(self, host: str) -> tuple[dict[str, Any], Templar]:
        if host not in self._hosts:
            variables = {**self._hostvars.raw_get(host), "hostvars": self._hostvars}
            self._hosts[host] = variables, Templar(loader=self._loader, variables=variables)
        return self._hosts[host]

    def values(
        self, host: str, names: Iterable[str], defaults: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Those of the variables *names* that *host* has, or that *defaults* has."""
        variables, templar = self._host(host)
        known = variables
        if defaults:
            # A value of the host may stand on a default.
            known = {**defaults, **variables}
            templar = Templar(loader=self._loader, variables=known)
        return {name: self._plain.resolved(templar, known[name]) for name in names if name in known}

    def declared(self, host: str) -> HostApps:
        variables, templar = self._host(host)
        connection = self.values(host, _CONNECTION)
        return HostApps(
            apps=self._plain.resolved(templar, variables.get(APPS, [])),
            secrets=self._secrets.resolved(templar, variables.get(SECRETS, {})),
            variables=frozenset(name for name in variables if isinstance(name, str)),
            machine=" ".join(map(str, connection.values())) if variables.get("ansible_host") else "",
        )


class UsedOnly:
    """Marks undecryptable values as not needed where their app is not in *used* ("*" stands for all apps)."""

    def __init__(self, used: Iterable[str]) -> None:
        self._used = set(used)
        #: By id, as hosts share what no template made; the value itself is kept, so that no later one gets its id.
        self._known: dict[int, tuple[Any, Any]] = {}

    def __call__(self, declared: HostApps) -> HostApps:
        if "*" in self._used:
            return declared
        apps = self._once(declared.apps, self._apps)
        return replace(declared, apps=apps, secrets=self._once(declared.secrets, self._secrets))

    def _apps(self, apps: Any) -> Any:
        return [self._once(app, self._app) for app in apps] if isinstance(apps, list) else apps

    def _app(self, app: Any) -> Any:
        return app if isinstance(app, Mapping) and app.get("name") in self._used else _unneeded(app)

    def _secrets(self, secrets: Any) -> Any:
        if not isinstance(secrets, Mapping):
            return _unneeded(secrets)
        return {name: value if name in self._used else _unneeded(value) for name, value in secrets.items()}

    def _once(self, value: Any, what: Callable[[Any], Any]) -> Any:
        if id(value) not in self._known:
            self._known[id(value)] = (value, what(value))
        return self._known[id(value)][1]


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


def failure(what: str, problems: list[Problem]) -> dict[str, Any]:
    return {
        "failed": True,
        "changed": False,
        "msg": message(what, problems),
        "problem_count": len(problems),
    }


def message(what: str, problems: list[Problem]) -> str:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    listed = "\n\n".join(str(problem) for problem in problems)
    return f"{what} {count}; no host was touched.\n\n{listed}\n"
