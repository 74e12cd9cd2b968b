#!/usr/bin/python
"""Users, directories and sizes of all apps of a host in one exchange."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: app_accounts
short_description: Create Unix users and directories for apps, and divide the host's memory among them
description:
  - Each app gets a system user and group of its name, without a shell and without a password, and its directories under
    C(/srv/apps) and C(/run/emperor-stack), with owners and modes that keep apps apart.
  - An obstacle to one app, such as an existing user or group of that name that belongs to something else, or a symlink in
    place of a directory, becomes that app's C(error). The task creates the remaining apps and does not fail; the caller
    leaves the failed apps out of later tasks and reports them at the end.
  - A host without enough memory for its apps is refused as a whole, before anything changes.
  - The number of processes of each app is written to C(/var/lib/emperor-stack/sizes.json), where new releases read it.
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
        description: Former name of the app on this host. The app keeps the user, data and history of that name.
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
      deploy_keys:
        description:
          - Public keys of SSH that may log in as C(deploy_<name>), a user that can do nothing but deploy the app. Without
            keys there is no such user.
        type: list
        elements: str
        default: []
      pushed:
        description: The app is deployed from pushes, to a repository of root's that is made here.
        type: bool
        default: false
      size:
        description: C(web), C(limits), C(on_demand) and C(workers) of the completed app.
        type: dict
        required: true
  leaving:
    description: Names of apps that the inventory marks for removal.
    type: list
    elements: str
    default: []
  memory:
    description: Percentage of the host's memory that all apps together may use.
    type: int
    required: true
  process_memory:
    description: Expected memory use of one process of an app, in MiB.
    type: int
    required: true
author: ["Emperor Stack maintainers (!UNKNOWN)"]
attributes:
  check_mode:
    description: Reports what would change.
    support: full
  diff_mode:
    description: No file content is involved.
    support: none
  idempotence:
    description: A second run changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Create users and directories
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
  description: App name to C(changes), what was created or corrected, and C(error), the obstacle and the fix.
  type: dict
  returned: success
changes:
  description: What was created or corrected, one line each.
  type: list
  elements: str
  returned: always
processes:
  description: App name to the number of processes of its next release.
  type: dict
  returned: success
undeclared:
  description: Apps on this host that are not in the inventory.
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
