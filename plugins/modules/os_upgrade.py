#!/usr/bin/python
"""Upgrade Debian on a host: the checks before, the packages, and what is remembered until all is done."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: os_upgrade
short_description: Upgrade Debian 12 to 13 in place
description:
  - The steps of C(playbooks/upgrade_os.yml) that happen on the host. A step that was done already does nothing, so that a
    run that died is repeated.
options:
  state:
    description:
      - V(checked) looks whether the host can be upgraded, and fails with all problems at once, each with its place, reason
        and fix. Fetches the package lists of the next version into a directory of their own; nothing else changes.
      - V(upgraded) lets the venvs of all releases name their Python in full, marks that Python as installed by hand so that
        C(apt-get autoremove) leaves it alone, and upgrades all packages in a systemd unit that survives a lost connection.
      - V(finished) forgets the upgrade, and says which releases still need the old Python. When none does, the packages are
        marked as installed automatically again.
    type: str
    choices: [checked, upgraded, finished]
    required: true
  apps:
    description: The apps of the host, as in the inventory. Only C(name) and C(python) are read.
    type: list
    elements: dict
    default: []
  interpreters:
    description: Further Pythons of the host, minor version to path.
    type: dict
    default: {}
  postgresql_version:
    description: Version of PostgreSQL that the inventory asks for; empty for that of Debian.
    type: str
    default: ""
  start_uwsgi:
    description: The sha256 of the program that starts uWSGI on hosts, as the role C(uwsgi_emperor) writes it.
    type: str
    default: ""
  accept:
    description: Checks whose problems are accepted.
    type: list
    elements: str
    choices: [backup, disk, held, status]
    default: []
  drained:
    description: Whether the host was drained before the upgrade; the next steps, of this or of a later run, are told.
    type: bool
    default: false
  http_port:
    description: Port of the web server on the host, for the health checks.
    type: int
    default: 80
author: ["Emperor Stack maintainers (!UNKNOWN)"]
attributes:
  check_mode:
    description: Only looks.
    support: full
  diff_mode:
    description: Nothing is shown.
    support: none
  idempotence:
    description: A host of the newest version is left as it is.
    support: full
"""

EXAMPLES = r"""
- name: Check the host
  emperor.stack.os_upgrade:
    state: checked
    apps: "{{ python_apps }}"
"""

RETURN = r"""
action:
  description:
    - V(upgrade) where the host has the old version, V(continue) where an upgrade was not finished, otherwise V(none).
  type: str
  returned: always
drained:
  description: Whether the host had been drained by somebody else before the upgrade began.
  type: bool
  returned: always
reboot:
  description: Whether the host runs another kernel than it would boot, or Debian asks for a reboot.
  type: bool
  returned: always
kept:
  description: The releases that need the Python of the old version.
  type: list
  elements: str
  returned: with O(state=finished)
kept_python:
  description: Minor version of that Python; empty when the packages have been given to C(apt-get autoremove).
  type: str
  returned: with O(state=finished)
"""

from typing import Any  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ..module_utils.debian import checks, suites, upgrade  # noqa: E402
from ..module_utils.host.command import CommandFailed  # noqa: E402
from ..module_utils.host.output import shown  # noqa: E402
from ..module_utils.host.release_error import ReleaseError  # noqa: E402


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["checked", "upgraded", "finished"], "required": True},
            "apps": {"type": "list", "elements": "dict", "default": []},
            "interpreters": {"type": "dict", "default": {}},
            "postgresql_version": {"type": "str", "default": ""},
            "start_uwsgi": {"type": "str", "default": ""},
            "accept": {
                "type": "list",
                "elements": "str",
                "choices": ["backup", "disk", "held", "status"],
                "default": [],
            },
            "drained": {"type": "bool", "default": False},
            "http_port": {"type": "int", "default": 80},
        },
        supports_check_mode=True,
    )
    begun = upgrade.progress()
    number = upgrade.number()
    action = "continue" if begun else "upgrade" if number in suites.NEXT else "none"
    result = {"action": action, "drained": begun.drained if begun else module.params["drained"]}
    try:
        changed = STEPS[module.params["state"]](module, number, result)
    except (CommandFailed, ReleaseError, OSError) as error:
        module.fail_json(msg=shown(str(error)), **result)
    module.exit_json(changed=changed, reboot=upgrade.reboot_wanted(), **result)


def checked(module: AnsibleModule, number: str, result: dict[str, Any]) -> bool:
    """Nothing is checked of what has begun: there is no way back, and half of it is no place to stay."""
    if result["action"] == "upgrade":
        given = module.params
        wanted = checks.Wanted(
            given["apps"],
            {str(version): str(path) for version, path in given["interpreters"].items()},
            given["postgresql_version"],
            given["start_uwsgi"],
            given["http_port"],
        )
        found = checks.problems(*suites.NEXT[number], wanted)
        if left := [problem for problem in found if problem.check not in given["accept"]]:
            said = "\n".join(problem.shown() for problem in left)
            module.fail_json(msg=f"Debian was not upgraded, and nothing was changed:\n{said}", **result)
    return False


def upgraded(module: AnsibleModule, number: str, result: dict[str, Any]) -> bool:
    begun = upgrade.progress()
    if result["action"] == "none" or (begun and begun.upgraded):
        return False
    if not module.check_mode:
        old, new = suites.NEXT[begun.old if begun else number]
        upgrade.begin(old, new, result["drained"])
        upgrade.packages()
        upgrade.upgraded(new)
    return True


def finished(module: AnsibleModule, number: str, result: dict[str, Any]) -> bool:
    if not module.check_mode:
        upgrade.finish()
        python, users = upgrade.kept()
        result |= {"kept_python": python, "kept": users}
    return result["action"] == "continue"


STEPS = {"checked": checked, "upgraded": upgraded, "finished": finished}

if __name__ == "__main__":
    main()
