#!/usr/bin/python
"""What of a host differs from what the tasks of roles want, in one round trip."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_drift
short_description: Compare a host with the arguments of many tasks at once
description:
  - The part of M(emperor.stack.drift) that runs on the host. Not meant for other uses.
  - Each question is answered by the code of the module that it is about. An error in one question is reported as its
    answer and does not affect other questions.
options:
  questions:
    description: What to compare, in the order in which the tasks would run.
    type: list
    elements: dict
    required: true
    suboptions:
      tasks:
        description: Role and file of the task, as in V(nginx/configure).
        type: str
        required: true
      module:
        description: Name of the task's module, without that of the collection.
        type: str
        required: true
        choices: [file_set, app_accounts, certificates, release]
      arguments:
        description: The rendered arguments of the task that describe the wanted state.
        type: dict
        required: true
author: ["Emperor Stack maintainers (!UNKNOWN)"]
attributes:
  check_mode:
    description: Nothing is changed in any mode.
    support: full
  diff_mode:
    description: Nothing is changed.
    support: none
  idempotence:
    description: Nothing is changed.
    support: full
"""

EXAMPLES = r"""
- name: See what a task would change
  emperor.stack.host_drift:
    questions:
      - tasks: nginx/configure
        module: file_set
        arguments: {name: nginx, files: [{path: /etc/nginx/nginx.conf, content: "events {}"}]}
"""

RETURN = r"""
differs:
  description: By O(questions[].tasks), the differences, one line each. Empty if there are none.
  type: dict
  returned: always
  sample: {nginx/configure: [/etc/nginx/nginx.conf differs]}
apps:
  description: By app, the live release, as phase C(plan) of M(emperor.stack.release) reports it for an unchanged app.
  type: dict
  returned: where nothing differs
"""

from collections.abc import Callable, Mapping  # noqa: E402
from typing import Any  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator  # noqa: E402

from ..module_utils.app import accounts as app_accounts  # noqa: E402
from ..module_utils.file_set import arguments as file_set_arguments  # noqa: E402
from ..module_utils.file_set.apply import FileSet  # noqa: E402
from ..module_utils.host.masking import hide  # noqa: E402
from ..module_utils.host.module import Module  # noqa: E402
from ..module_utils.host.output import printable  # noqa: E402
from ..module_utils.release.options import Options  # noqa: E402
from ..module_utils.release.phases import run_phase, serving  # noqa: E402
from ..module_utils.tls import renewal  # noqa: E402


class DryRunModule:
    """A module in check mode, with validated arguments; it answers questions and changes nothing.

    Raises ValueError for *arguments* that *spec*, the argument spec of that module, does not allow.
    """

    check_mode = True
    _diff = False
    _verbosity = 0

    def __init__(
        self,
        spec: Mapping[str, Any],
        arguments: Mapping[str, Any],
        run_command: Callable[..., tuple[int, str, str]],
    ) -> None:
        checked = ArgumentSpecValidator(dict(spec)).validate(dict(arguments))
        if checked.error_messages:
            raise ValueError("; ".join(checked.error_messages))
        self.params: dict[str, Any] = checked.validated_parameters
        self.run_command = run_command
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def of_files(module: Module) -> list[str]:
    return FileSet(module).drift()


def of_certificates(module: Module) -> list[str]:
    return renewal.drift(module.params["apps"], module.params["settings"])


def of_releases(module: Module) -> list[str]:
    apps = module.params["apps"]
    hide([app["key"] for app in apps if app.get("key")])
    plan = run_phase("plan", apps, Options(force=module.params["force"]))
    return [
        f"{name}: {one.get('error') or one.get('why') or 'its workers and commands of one host move'}"
        for name, one in plan.items()
        if one.get("action") != "none" or one.get("lead")
    ]


#: By module: its argument spec, and the function that lists what it would do.
QUERIES: Mapping[str, tuple[Mapping[str, Any], Callable[[Module], list[str]]]] = {
    "file_set": (file_set_arguments.drift_spec(), of_files),
    "app_accounts": (app_accounts.argument_spec(), app_accounts.drift),
    "certificates": (
        {
            "apps": {"type": "list", "elements": "dict", "required": True},
            "settings": {"type": "dict", "required": True},
        },
        of_certificates,
    ),
    "release": (
        {
            "apps": {"type": "list", "elements": "dict", "required": True},
            "force": {"type": "bool", "default": False},
            "http_port": {"type": "int", "default": 80},
        },
        of_releases,
    ),
}


def differing(module: AnsibleModule, name: str, arguments: Mapping[str, Any]) -> list[str]:
    """What module *name* would do or say with *arguments*, a line each."""
    spec, query = QUERIES[name]
    try:
        dry_run = DryRunModule(spec, arguments, module.run_command)
        return [*query(dry_run), *dry_run.warnings]
    except Exception as error:
        # Whatever it is: the task itself runs into it, and has all that there is to say of it.
        return [f"{type(error).__name__}: {error}"]


def main() -> None:
    question = {
        "tasks": {"type": "str", "required": True},
        "module": {"type": "str", "required": True, "choices": list(QUERIES)},
        "arguments": {"type": "dict", "required": True, "no_log": True},
    }
    module = AnsibleModule(
        argument_spec={
            "questions": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": question,
                "no_log": True,
            },
        },
        supports_check_mode=True,
    )
    # Whole files are secret as parameters; of the result nothing is, and paths must not be masked in it.
    module.no_log_values.clear()
    differs: dict[str, list[str]] = {}
    for one in module.params["questions"]:
        # The roles run then in any case, and after them a plan of its own: remotes of apps need not be waited for twice.
        if one["module"] == "release" and differs:
            continue
        if lines := differing(module, one["module"], one["arguments"]):
            differs.setdefault(one["tasks"], []).extend(lines)
    result: dict[str, Any] = {"differs": printable(differs)}
    if not differs:
        result["apps"] = {
            app["name"]: {
                "action": "none",
                **serving(app["name"], Options(http_port=int(one["arguments"].get("http_port", 80)))),
            }
            for one in module.params["questions"]
            if one["module"] == "release"
            for app in one["arguments"]["apps"]
        }
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
