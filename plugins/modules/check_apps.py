#!/usr/bin/python
"""Documentation of the action check_apps, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: check_apps
short_description: Check python_apps of the whole inventory
version_added: 0.1.0
description:
  - Checks C(python_apps) and C(vault_python_apps_secrets) of every host of a group, on the controller and
    before any host is touched, and fails with all problems at once; each has its place, its reason and its fix.
  - All hosts of the group are read, also those that C(--limit) leaves out, as a clash does not depend on it.
  - Only variables of the inventory and extra variables count; those of a play do not reach other hosts.
  - No connection is made. The task runs once, whatever hosts the play has.
options:
  root:
    description:
      - Directory on the controller that relative C(source.path) and C(source.key) start at.
      - By default the nearest directory above the playbook that has an C(ansible.cfg), else that of
        the playbook.
    type: path
  group:
    description: Inventory group of the managed hosts.
    type: str
    default: app_hosts
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
problem_count:
  description: How many problems the message lists.
  returned: failure
  type: int
"""
