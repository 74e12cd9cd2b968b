#!/usr/bin/python
"""Documentation of the action check_apps, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: check_apps
short_description: Check python_apps of the whole inventory
version_added: 0.1.0
description:
  - Checks C(python_apps) and C(vault_python_apps_secrets) of every host of a group, on the controller and
    before any host is touched, and fails with all problems at once, each with its place, reason and fix.
  - Reads all hosts of the group, including those that C(--limit) excludes, because a clash may involve them.
  - Only inventory variables and extra variables count; variables of a play do not apply to other hosts.
  - Where these have no problem, checks C(front_server) and the settings of role tls, of the hosts of the play.
  - Connects to no host. The task runs once per play.
options:
  root:
    description:
      - Directory on the controller that a relative C(source.path) or C(source.key) starts from.
      - By default the nearest directory above the playbook that has an C(ansible.cfg), else that of
        the playbook.
    type: path
  group:
    description: Inventory group of the managed hosts.
    type: str
    default: app_hosts
  used_secrets:
    description:
      - Names of the apps whose secrets the run uses; V(*) stands for all apps.
      - A value of any other app may be encrypted with a vault password that is not given. It is left unchecked.
    type: list
    elements: str
    default: []
author: Emperor Stack maintainers (!UNKNOWN)
attributes:
  check_mode:
    description: Nothing is changed in any mode.
    support: full
"""

EXAMPLES = r"""
- name: Check the apps
  hosts: app_hosts
  gather_facts: false
  any_errors_fatal: true
  tasks:
    - name: Validate python_apps of the whole inventory
      emperor.stack.check_apps:
"""

RETURN = r"""
apps:
  description: How many different apps the inventory has.
  returned: success
  type: int
hosts:
  description: How many hosts were read.
  returned: success
  type: int
shared:
  description: The apps that more than one host has, each with the names of its hosts.
  returned: success
  type: dict
  sample: {blog: [web1, web2]}
unchecked:
  description: How many values could not be decrypted and were left unchecked.
  returned: success
  type: int
problem_count:
  description: How many problems the message lists.
  returned: failure
  type: int
"""
