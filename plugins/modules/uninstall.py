#!/usr/bin/python
"""Take Emperor Stack off a host."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: uninstall
short_description: Remove everything that Emperor Stack wrote on a host
description:
  - The steps of C(playbooks/uninstall.yml) that happen on the host beside the removal of the apps. Removes exactly the
    files that the manifests of M(emperor.stack.file_set) list and that nobody has changed since, the directories of
    Emperor Stack, its units, and its users for logins. Packages stay.
  - A run that died is gone on with by the next.
options:
  state:
    description:
      - V(listed) says what would be removed.
      - V(closed) archives local configuration and certificates, and stops the web server or the balancer.
      - V(absent) removes everything. Fails while the host has apps.
    type: str
    choices: [listed, closed, absent]
    required: true
author: ["Emperor Stack maintainers (!UNKNOWN)"]
attributes:
  check_mode:
    description: Only looks.
    support: full
  diff_mode:
    description: Nothing is shown.
    support: none
  idempotence:
    description: A host that has nothing of Emperor Stack is left as it is.
    support: full
"""

EXAMPLES = r"""
- name: See what would be removed
  emperor.stack.uninstall:
    state: listed
  register: there
"""

RETURN = r"""
apps:
  description: Apps that the host has.
  type: list
  elements: str
  returned: always
files:
  description: How many files and links the roles wrote that are still there.
  type: int
  returned: always
archive:
  description: Archive of local configuration and certificates; empty where there was nothing.
  type: str
  returned: with O(state=closed)
stays:
  description: What is left on the host.
  type: list
  elements: str
  returned: with O(state=absent)
"""

import time  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ..module_utils.app import traces  # noqa: E402
from ..module_utils.host.command import CommandFailed  # noqa: E402
from ..module_utils.host.output import shown  # noqa: E402
from ..module_utils.uninstall import whole  # noqa: E402


def main() -> None:
    module = AnsibleModule(
        argument_spec={"state": {"type": "str", "choices": ["listed", "closed", "absent"], "required": True}},
        supports_check_mode=True,
    )
    try:
        found = whole.written()
        apps = sorted(traces.found_apps())
        result = {"apps": apps, "files": len(found.files), "archive": "", "stays": []}
        state = module.params["state"]
        changed = bool(found) and state != "listed"
        if state == "absent" and apps and not module.check_mode:
            module.fail_json(msg=f"the host still has {', '.join(apps)}: nothing was removed", **result)
        if changed and not module.check_mode:
            if state == "closed":
                result["archive"] = whole.keep(time.time())
                whole.stop_front()
            else:
                result["stays"] = whole.stays(whole.remove(found), found.edited)
    except (CommandFailed, OSError, ValueError) as error:
        module.fail_json(msg=shown(str(error)))
    module.exit_json(changed=changed, **result)


if __name__ == "__main__":
    main()
