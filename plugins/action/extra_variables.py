"""Refuse extra variables that have no effect. Documentation: plugins/modules/extra_variables.py."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible import context
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

from ..plugin_utils.schema import extra_variables, renamed_variables
from ..plugin_utils.schema.problems.found import APPS, SECRETS

#: The collection: in a checkout, its root.
ROOT = Path(__file__).resolve().parents[2]

#: How the names begin that Ansible reads itself, or that a runner adds to every job: AWX (`awx_job_id` and `tower_job_id`,
#: awx/main/models/unified_jobs.py) and Semaphore (`semaphore_vars`, its documentation's page on pipelines).
OF_RUNNERS = ("ansible_", "awx_", "tower_", "semaphore_")


class ActionModule(ActionBase):
    # The command line is the same for all hosts, and none of them is asked anything.
    BYPASS_HOST_LOOP = True
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self.validate_argument_spec(argument_spec={})
        words = [str(word) for word in context.CLIARGS.get("extra_vars") or ()]
        if not words:
            return {"changed": False}
        hostvars = (task_vars or {})["hostvars"]
        faults = extra_variables.faults(
            words,
            load_extra_vars(self._loader),
            own_playbooks(context.CLIARGS.get("args") or (), ROOT),
            lambda name: (
                name.startswith(OF_RUNNERS) or name in of_roles(ROOT) or of_inventory(hostvars, name)
            ),
            lambda: [name for name in of_roles(ROOT) if not name.startswith("__")],
        )
        faults += extra_variables.unknown_hosts(
            (task_vars or {}).get("without"), (task_vars or {})["groups"].get("app_hosts", ())
        )
        if faults:
            return {"failed": True, "changed": False, "msg": extra_variables.message(faults)}
        return {"changed": False}


def own_playbooks(arguments: Iterable[str], root: Path) -> list[str] | None:
    """The names of the bundle's playbooks in *arguments*; None when another one is among them, which may read anything."""
    names = []
    for argument in arguments:
        path = Path(argument).resolve()
        if argument.startswith("emperor.stack."):
            name = argument.removeprefix("emperor.stack.").removeprefix("playbooks.")
        elif path.suffix == ".yml" and (path.parent == root / "playbooks" or path == root / "site.yml"):
            name = path.stem
        else:
            return None
        if name not in extra_variables.PLAYBOOKS:
            return None
        names.append(name)
    return names


#: Variables that playbooks and the check read, beside those of roles.
OF_THE_FLEET = ("front_server", "front_http_port", "host_address", "vault_services_secret")


@functools.cache
def of_roles(root: Path) -> set[str]:
    """All variables that the roles and playbooks of the bundle at *root* have, with internal ones and old names."""
    names = {*renamed_variables.ROLE_VARIABLES, APPS, SECRETS, *OF_THE_FLEET}
    for path in root.glob("roles/*/meta/argument_specs.yml"):
        for entry in _loaded(path)["argument_specs"].values():
            names |= entry.get("options", {}).keys()
    for path in (*root.glob("roles/*/vars/*.yml"), *root.glob("playbooks/vars/*.yml")):
        names |= _loaded(path).keys()
    return names


def _loaded(path: Path) -> dict[str, Any]:
    # By libyaml where it is: each run with -e reads all of these files, and that takes a tenth of the time.
    return yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}  # noqa: S506


def of_inventory(hostvars: Any, name: str) -> bool:
    """Whether the inventory defines *name*, or a template in the variables of any host mentions it."""
    mention = re.compile(rf"(?<![\w.'\"]){re.escape(name)}(?!\w)")
    manager = copy.copy(hostvars._variable_manager)
    manager._extra_vars = {}
    for host in hostvars:
        own = manager.get_vars(host=hostvars._inventory.get_host(host), include_hostvars=False)
        if name in own or any(mention.search(text) for text in templates(hostvars.raw_get(host))):
            return True
    return False


def templates(value: Any) -> Iterator[str]:
    """Each text in *value* that is a template. What is encrypted stays so."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from templates(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from templates(item)
    elif isinstance(value, str) and ("{{" in value or "{%" in value):
        yield value
