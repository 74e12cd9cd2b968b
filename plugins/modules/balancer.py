#!/usr/bin/python
"""Hold hosts out at a balancer, and read what it counts."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: balancer
short_description: Hold a host out of an app at a balancer, and read the balancer's counters
description:
  - A host that is held out gets no requests for the app. The running HAProxy obeys at once, and a reload and a boot of
    the balancer keep it. Nothing is asked of the host itself.
  - No app loses the last host that answers. A hold that would leave none is passed over; RV(held) then does not name it.
  - Without O(holds), only reads what is held out and what HAProxy counted.
options:
  holds:
    description: What to change. All other holds stay.
    type: list
    elements: dict
    default: []
    suboptions:
      app:
        description: Name of the app.
        type: str
        required: true
      host:
        description: Name of the host in the inventory. The balancer need not know it yet.
        type: str
        required: true
      held:
        description: Whether the host gets no requests for the app.
        type: bool
        required: true
author: ["Emperor Stack maintainers (!UNKNOWN)"]
attributes:
  check_mode:
    description: Says what would change, and changes nothing.
    support: full
  diff_mode:
    description: The result says what is held out.
    support: none
  idempotence:
    description: A hold that is there already is left as it is.
    support: full
"""

EXAMPLES = r"""
- name: Hold the host out of the app at every balancer
  emperor.stack.balancer:
    holds: [{app: blog, host: app2.example.com, held: true}]
  delegate_to: "{{ item }}"
  loop: "{{ groups['balancers'] }}"

- name: Read the counters
  emperor.stack.balancer:
  register: counted
"""

RETURN = r"""
held:
  description: All that is held out now.
  type: list
  elements: dict
  returned: always
  sample: [{app: blog, host: app2.example.com}]
process:
  description: The process of HAProxy that answered; 0 where it does not run. Each process counts from 0.
  type: int
  returned: always
servers:
  description: By app and host, state and counters of HAProxy. Empty where HAProxy does not run.
  type: dict
  returned: always
  sample: {blog: {app2.example.com: {status: UP, scur: 1, stot: 5, hrsp_2xx: 5, hrsp_5xx: 0, eresp: 0, econ: 0}}}
"""

import os  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ..module_utils.balancer import holds, running  # noqa: E402
from ..module_utils.host.output import clean, printable  # noqa: E402


def main() -> None:
    options = {
        "app": {"type": "str", "required": True},
        "host": {"type": "str", "required": True},
        "held": {"type": "bool", "required": True},
    }
    module = AnsibleModule(
        argument_spec={"holds": {"type": "list", "elements": "dict", "default": [], "options": options}},
        supports_check_mode=True,
    )
    try:
        wanted = [(holds.checked(one["app"], one["host"]), one["held"]) for one in module.params["holds"]]
        changed, held = holds.change(
            [hold for hold, out in wanted if out],
            [hold for hold, out in wanted if not out],
            module.check_mode,
        )
        runs = os.path.exists(running.PATH)
        result = {
            "held": [{"app": one.app, "host": one.host} for one in sorted(held)],
            "process": running.process() if runs else 0,
            "servers": running.servers() if runs else {},
        }
    except (holds.NoBalancer, running.NoAnswer, OSError, ValueError) as error:
        module.fail_json(msg=clean(str(error)))
    module.exit_json(changed=changed, **printable(result))


if __name__ == "__main__":
    main()
