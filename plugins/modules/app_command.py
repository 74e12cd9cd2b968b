#!/usr/bin/python
"""Run one command of an app in the environment of its live release."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: app_command
short_description: Run one command in the live release of an app
description:
  - The command runs as the app's user in the live release's code, with its environment and secrets and its venv's programs
    on C(PATH), in a systemd unit of its own with the sandbox and the slice of the app's workers.
  - It ends with the run that gave it, also when that is cut off.
options:
  app:
    description: Name of the app.
    type: str
    required: true
  command:
    description: One line, for C(/bin/sh -e).
    type: str
    required: true
  timeout:
    description: Seconds after which it is ended.
    type: int
    default: 3600
author: ["Emperor Stack maintainers (!UNKNOWN)"]
attributes:
  check_mode:
    description: Nothing is run.
    support: full
  diff_mode:
    description: What a command changes is not known.
    support: none
"""

EXAMPLES = r"""
- name: Make an administrator
  emperor.stack.app_command:
    app: blog
    command: python manage.py createsuperuser --noinput
"""

RETURN = r"""
output:
  description: The last 64 KiB of what it printed, standard error included. Values of the app's secrets are masked.
  type: str
  returned: when it was run
rc:
  description: Its exit status.
  type: int
  returned: when it ended by itself
release:
  description: The release in which it ran.
  type: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ..module_utils.app.command import CannotRun, hide_secrets, run_command  # noqa: E402
from ..module_utils.host.output import clean  # noqa: E402
from ..module_utils.release import failure  # noqa: E402
from ..module_utils.release.state import AppState  # noqa: E402


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "str", "required": True},
            "command": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 3600},
        },
        supports_check_mode=True,
    )
    app, timeout = module.params["app"], module.params["timeout"]
    release = AppState(app).live_release() or ""
    if not release:
        module.fail_json(msg=f"{app} has no live release on this host: deploy it first", release=release)
    if module.check_mode:
        module.exit_json(changed=True, release=release)
    try:
        hide_secrets(app, release)
        outcome = run_command(app, release, module.params["command"], timeout)
    except CannotRun as error:
        module.fail_json(msg=clean(str(error)), release=release)
    except Exception as error:
        module.fail_json(msg=f"{app}: {failure.described(app, error)}", release=release)
    result = {"output": outcome.output, "release": release, "changed": True}
    if outcome.status is not None:
        result["rc"] = outcome.status
    if outcome.failure:
        module.fail_json(msg=f"{app}: the command failed: {outcome.failure}", **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
