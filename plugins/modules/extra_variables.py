#!/usr/bin/python
"""Documentation of the action extra_variables, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: extra_variables
short_description: Refuse extra variables that have no effect
version_added: 0.1.0
description:
  - Checks the extra variables of the command line (C(-e)) on the controller, before any host is touched, and fails with
    all problems at once, each with its place, reason and fix.
  - Refuses a value that Ansible cuts at a blank, as in C(-e command='python manage.py check'), and shows what to type
    instead.
  - When only playbooks of this collection run, refuses as well a variable that these playbooks ignore, an empty value, and
    a value that an option cannot have. Variables of roles, variables that the inventory defines or that a template in it
    mentions, and C(ansible_…) are left alone.
  - Connects to no host. The task runs once per play.
author: Emperor Stack maintainers (!UNKNOWN)
attributes:
  check_mode:
    description: Nothing is changed in any mode.
    support: full
"""

EXAMPLES = r"""
- name: Show the status
  hosts: app_hosts
  gather_facts: false
  tasks:
    - name: Validate the extra variables
      emperor.stack.extra_variables:
"""

RETURN = r"""
"""
