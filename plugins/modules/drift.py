#!/usr/bin/python
"""Documentation of the action drift, which asks the host by module host_drift."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: drift
short_description: Say in one exchange what tasks of roles would change on a host
description:
  - A run that changes nothing would ask once per task. This asks for all of them at once, with the arguments that stand
    in the tasks themselves; the action plugin reads them there, and renders the files.
  - It compares contents, owners, modes, packages, units, accounts, certificates, and what services have loaded, by the
    code that the modules of these tasks run, in M(emperor.stack.host_drift). There is no stamp that says "nothing changed".
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
apps:
  description: By app what is live, as C(plan) of module C(release) says it of an app that does not differ.
  type: dict
  returned: where nothing differs
"""
