#!/usr/bin/python
"""Take releases of Python apps through phases of a deploy or rollback, for all apps of a host in one exchange."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: release
short_description: Take releases of Python apps through phases of a deploy or rollback
description:
  - >-
    One table, C(plugins/module_utils/release/phases.py), lists the phases and what each does. C(plan) and C(status) are
    read-only. The filter P(emperor.stack.exchanges#filter) returns the phases of a deploy and of a rollback.
  - A phase handles all apps at once. An app that fails is cleaned up and its lock is released, and the remaining apps go
    on. The task then fails, with one message per app.
  - >-
    The action plugin of the same name takes further options: C(secrets) of the apps, C(root), where relative paths of
    sources start, C(listen), the length of an app's listen queue, C(after), the result of the previous phases, and
    C(fleet), what the filter P(emperor.stack.fleet_verdict#filter) decided for all hosts. Only apps that passed the
    previous phases enter the phase, and the result covers all phases so far.
  - State that a phase passes to the next one is kept on the host, in the app's deploy lock. If a run dies, the live
    release keeps serving; the next run finishes or reverts what the dead run left.
options:
  phase:
    description: The phase to run.
    type: str
    required: true
  then:
    description:
      - Further phases in the same exchange, for the apps that passed the previous ones. Over several hosts each phase is
        a task of its own instead, so that it ends on every host before the next one begins.
    type: list
    elements: str
    default: []
  apps:
    description:
      - The apps. The action plugin of the same name makes this list from entries of C(python_apps).
    type: list
    elements: dict
    required: true
  owner:
    description: Owner of the deploy locks, with C(token), C(who) and C(controller).
    type: dict
    default: {}
  dead:
    description: Tokens of locks whose run is known to have ended.
    type: list
    elements: str
    default: []
  break_lock:
    description: Take over a lock even if its owner may still be running.
    type: bool
    default: false
  force:
    description: Also deploy a version that is already live or that was rolled back.
    type: bool
    default: false
  to_release:
    description: Target release of C(rollback). The previous good one by default.
    type: str
  to_version:
    description: Version or commit of the target of C(rollback), instead of its name.
    type: str
  across_migration:
    description: Allow a rollback to a release whose migrations differ from the live one's.
    type: bool
    default: false
  emperor:
    description: Start under this emperor (C(a) or C(b)) instead of the running one.
    type: str
  keep_releases:
    description: Number of good releases to keep on the host, including the live one. At least 2.
    type: int
    default: 5
  keep_warm:
    description: Time in seconds that the previous activation keeps running, for an immediate rollback.
    type: int
    default: 600
  uv_environment:
    description: Environment variables for uv, such as C(UV_DEFAULT_INDEX).
    type: dict
    default: {}
  interpreters:
    description: Further Pythons of the host, minor version to path.
    type: dict
    default: {}
  http_port:
    description: Port of nginx on the host, for the probe after the switch.
    type: int
    default: 80
  confirm_within:
    description:
      - Seconds after which the host takes its switch back, unless the phase C(confirm) came before. 0 where no other host
        has to switch too.
    type: int
    default: 0
  progress:
    description:
      - Name of a file on the host that the module writes its current step to. The action plugin sets it, and shows the
        step while a phase takes long.
    type: str
    default: ""
author: ["Emperor Stack maintainers (!UNKNOWN)"]
attributes:
  check_mode:
    description: C(plan) and C(status) change nothing; every other phase changes nothing in check mode.
    support: full
  diff_mode:
    description: C(plan) reports the differences per app.
    support: none
"""

EXAMPLES = r"""
- name: Compare the apps with their live releases
  emperor.stack.release:
    phase: plan
    apps: "{{ python_apps | emperor.stack.complete_apps }}"
    secrets: "{{ vault_python_apps_secrets }}"
  register: plan
"""

RETURN = r"""
apps:
  description: Per app the results of C(after), O(phase) and O(then); C(error) if a phase failed.
  type: dict
  returned: always
phases:
  description: The phases of C(after), O(phase) and O(then).
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ..module_utils.host.output import printable  # noqa: E402
from ..module_utils.release.current_steps import CurrentSteps  # noqa: E402
from ..module_utils.release.hiding import hide_all  # noqa: E402
from ..module_utils.release.options import Options  # noqa: E402
from ..module_utils.release.phases import in_turn  # noqa: E402


def summary(failed: list[str], of: int) -> str:
    """One line; each app's reason stands in its own result."""
    rest = "" if len(failed) == of else "; the other apps go on"
    return f"{', '.join(failed)} failed{rest}"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "phase": {"type": "str", "required": True},
            "then": {"type": "list", "elements": "str", "default": []},
            "apps": {"type": "list", "elements": "dict", "required": True, "no_log": False},
            "owner": {"type": "dict", "default": {}, "no_log": False},
            "dead": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "break_lock": {"type": "bool", "default": False},
            "force": {"type": "bool", "default": False},
            "to_release": {"type": "str"},
            "to_version": {"type": "str"},
            "across_migration": {"type": "bool", "default": False},
            "emperor": {"type": "str"},
            "keep_releases": {"type": "int", "default": 5},
            "keep_warm": {"type": "int", "default": 600},
            "uv_environment": {"type": "dict", "default": {}, "no_log": False},
            "interpreters": {"type": "dict", "default": {}},
            "http_port": {"type": "int", "default": 80},
            "confirm_within": {"type": "int", "default": 0},
            "progress": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    # No secret comes back in a message, whatever an app's build prints.
    hide_all(module.params["apps"], module.params["uv_environment"])
    options = Options(
        owner=module.params["owner"],
        dead=module.params["dead"],
        break_lock=module.params["break_lock"],
        force=module.params["force"],
        to_release=module.params["to_release"],
        to_version=module.params["to_version"],
        across_migration=module.params["across_migration"],
        emperor=module.params["emperor"],
        keep_releases=max(module.params["keep_releases"], 2),
        keep_warm=module.params["keep_warm"],
        uv_environment={str(k): str(v) for k, v in module.params["uv_environment"].items()},
        interpreters={str(k): str(v) for k, v in module.params["interpreters"].items()},
        http_port=module.params["http_port"],
        confirm_within=module.params["confirm_within"],
        check_mode=module.check_mode,
        steps=CurrentSteps(module.params["progress"]),
    )
    phases = [module.params["phase"], *module.params["then"]]
    outcome = in_turn(phases, module.params["apps"], options)
    options.steps.close()
    # Said once, at the top: the invocation would repeat every app's whole material.
    changed = [one.pop("changed", False) for one in outcome.values()]
    result = {"apps": printable(outcome), "changed": any(changed), "phases": phases}
    failed = [name for name, one in outcome.items() if one.get("error")]
    if failed:
        module.fail_json(msg=summary(failed, len(outcome)), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
