#!/usr/bin/python
"""Users, directories and sizes of all apps of a host in one exchange."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: app_accounts
short_description: Make the Unix users and directories of a host's apps, and share the host out among them
description:
  - Each app gets a system user and group of its name, without a shell and without a password, and its directories under
    C(/srv/apps) and C(/run/emperor-stack), with owners and modes that keep apps apart.
  - What is in the way of one app, such as a user or a group of its name that was not made for it, or a link in the place of
    a directory, is that app's C(error). The others are made, and the task does not fail; whoever runs it leaves such apps
    out of what follows, and says so at the end.
  - A host that has not enough memory for its apps is refused as a whole. Nothing is changed then.
  - How many processes each app may have is written to C(/var/lib/emperor-stack/sizes.json). A release takes it from there
    when it is made.
options:
  apps:
    description: The apps.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the app, of its user and of its group.
        type: str
        required: true
      renamed_from:
        description: Name of the app of this host whose user, data and history it takes over.
        type: str
      persistent:
        description: Directories that survive releases, relative to the code.
        type: list
        elements: dict
        default: []
        suboptions:
          path:
            description: Relative path.
            type: str
            required: true
          served:
            description: nginx serves files from it.
            type: bool
            default: false
      size:
        description: C(web), C(limits), C(on_demand) and C(workers) of the completed app.
        type: dict
        required: true
  leaving:
    description: Names of further apps that the inventory knows, as they are to be removed.
    type: list
    elements: str
    default: []
  memory:
    description: Percent of the host's memory that all apps together may take.
    type: int
    required: true
  process_memory:
    description: MiB that one process of an app is expected to take.
    type: int
    required: true
author: ["Emperor Stack maintainers (!UNKNOWN)"]
attributes:
  check_mode:
    description: Says what would change.
    support: full
  diff_mode:
    description: No file content is involved.
    support: none
  idempotence:
    description: A second run changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Make users and directories
  emperor.stack.app_accounts:
    apps:
      - name: blog
        persistent: [{path: media, served: true}]
        size:
          web: {processes: 4}
          limits: {memory: null}
          on_demand: false
          workers: {}
    memory: 90
    process_memory: 80
"""

RETURN = r"""
apps:
  description: App name to C(changes), what was made or corrected for it, and C(error), what is in its way and what to do.
  type: dict
  returned: success
changes:
  description: What was made or corrected, one line each.
  type: list
  elements: str
  returned: always
processes:
  description: App name to the processes that its next release may have.
  type: dict
  returned: success
undeclared:
  description: Apps that are on this host, and that the inventory does not know.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ..module_utils.app.accounts import UnsuitableHost, argument_spec, ensure_all  # noqa: E402
from ..module_utils.host.output import clean, printable  # noqa: E402


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        module.exit_json(**printable(ensure_all(module)))
    except UnsuitableHost as error:
        module.fail_json(msg=clean(str(error)), changes=[])


if __name__ == "__main__":
    main()
