#!/usr/bin/python
"""What of a host differs from what the tasks of roles want, in one round trip."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: drift
short_description: Say in one exchange what tasks of roles would change on a host
description:
  - A run that changes nothing would ask once per task. This asks for all of them at once, with the arguments that stand
    in the tasks themselves; the action plugin reads them there, and renders the files.
  - It compares contents, owners, modes, packages, units, accounts, certificates, and what services have loaded, by the
    code that the modules of these tasks run. There is no stamp that says "nothing changed".
  - What a task would only say, such as a warning of files that others made, is a difference too, so that it is said.
  - Where the arguments of a task cannot be had, that is a difference of its role, which then says itself what is wrong.
options:
  of:
    description:
      - Files with tasks. Asked are those that run M(emperor.stack.file_set), M(emperor.stack.app_accounts),
        M(emperor.stack.certificates), or M(emperor.stack.release) with its phase V(plan); none of them may have a loop.
    type: list
    elements: dict
    required: true
    suboptions:
      role:
        description: Name of a role of this collection.
        type: str
        required: true
      tasks:
        description: Name of a file in its directory V(tasks), without C(.yml).
        type: str
        required: true
      wanted:
        description: Whether the tasks would run at all.
        type: bool
        default: true
author: [Emperor Stack maintainers]
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
- name: See what differs
  emperor.stack.drift:
    of:
      - {role: base, tasks: configure}
      - {role: nginx, tasks: configure}
  register: found

- name: Leave the host alone where nothing does
  ansible.builtin.meta: end_host
  when: found.differs | length == 0
"""

RETURN = r"""
differs:
  description: By role and file of tasks, what differs, a line each. Empty where nothing does.
  type: dict
  returned: always
  sample: {nginx/configure: [/etc/nginx/nginx.conf differs]}
"""

from collections.abc import Callable, Mapping  # noqa: E402
from typing import Any  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ..module_utils.app import accounts as app_accounts  # noqa: E402
from ..module_utils.file_set import apply as file_set_apply  # noqa: E402
from ..module_utils.host.dry_run import Module, Question  # noqa: E402
from ..module_utils.host.masking import hide  # noqa: E402
from ..module_utils.host.output import printable  # noqa: E402
from ..module_utils.release.phases import PHASES, Options  # noqa: E402
from ..module_utils.tls import store as certificate_store  # noqa: E402


def of_files(module: Module) -> list[str]:
    return file_set_apply.FileSet(module).drift()


def of_certificates(module: Module) -> list[str]:
    return certificate_store.drift(module.params["apps"], module.params["settings"])


def of_releases(module: Module) -> list[str]:
    apps = module.params["apps"]
    hide([app["key"] for app in apps if app.get("key")])
    plan = PHASES["plan"](apps, Options(again=module.params["again"]))
    return [
        f"{name}: {one.get('error') or one['why']}"
        for name, one in plan.items()
        if one.get("action") != "none"
    ]


#: By module: its argument spec, and what says what it would do.
ASK: Mapping[str, tuple[Mapping[str, Any], Callable[[Module], list[str]]]] = {
    "file_set": (file_set_apply.argument_spec(), of_files),
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
            "again": {"type": "bool", "default": False},
        },
        of_releases,
    ),
}


def differing(module: AnsibleModule, name: str, arguments: Mapping[str, Any]) -> list[str]:
    """What module *name* would do or say with *arguments*, a line each."""
    spec, ask = ASK[name]
    try:
        question = Question(spec, arguments, module.run_command)
        return [*ask(question), *question.warnings]
    except Exception as error:
        # Whatever it is: the task itself runs into it, and has all that there is to say of it.
        return [f"{type(error).__name__}: {error}"]


def main() -> None:
    question = {
        "tasks": {"type": "str", "required": True},
        "module": {"type": "str", "required": True, "choices": list(ASK)},
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
    module.exit_json(changed=False, differs=printable(differs))


if __name__ == "__main__":
    main()
