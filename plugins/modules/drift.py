#!/usr/bin/python
"""Documentation of the action drift, which asks the host by module host_drift."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: drift
short_description: Find out in one exchange what the tasks of roles would change on a host
description:
  - Without this module, a run that changes nothing takes one exchange per task. This module compares all of them in one,
    with the arguments of the tasks themselves. The action plugin reads the task files and renders the templates.
  - Compares contents, owners, modes, packages, units, accounts, certificates, and the configuration that services have
    loaded, with the code of the tasks' own modules, in M(emperor.stack.host_drift). No stamp file says "nothing changed".
  - Sends a digest in place of a long file, unless a service loads it. Only a task that runs sends contents.
  - A warning that a task would show, for example about foreign files, counts as a difference, so that the task runs.
  - If the arguments of a task cannot be rendered, its role counts as different, runs, and reports the error itself.
options:
  of:
    description:
      - Task files. Their tasks with M(emperor.stack.file_set), M(emperor.stack.app_accounts),
        M(emperor.stack.certificates), or phase V(plan) of M(emperor.stack.release) are compared; they must not have a loop.
    type: list
    elements: dict
    required: true
    suboptions:
      role:
        description: Name of a role of this collection.
        type: str
        required: true
      tasks:
        description: Name of a file in the role's directory V(tasks), without C(.yml).
        type: str
        required: true
      wanted:
        description: Whether the role would run these tasks.
        type: bool
        default: true
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
- name: Compare the host with two roles
  emperor.stack.drift:
    of:
      - {role: base, tasks: configure}
      - {role: nginx, tasks: configure}
  register: comparison

- name: End the host if nothing differs
  ansible.builtin.meta: end_host
  when: comparison.differs | length == 0
"""

RETURN = r"""
differs:
  description: By role and task file, the differences, one line each. Empty if there are none.
  type: dict
  returned: always
  sample: {nginx/configure: [/etc/nginx/nginx.conf differs]}
apps:
  description: By app, the live release, as phase C(plan) of M(emperor.stack.release) reports it for an unchanged app.
  type: dict
  returned: where nothing differs
"""
