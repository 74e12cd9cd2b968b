#!/usr/bin/python
"""Run one command of an app in the environment of its live release."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: app_command
short_description: Run one command in the live release of an app
description:
  - The command runs as the app's user in the live release's code, with its environment and secrets and its venv's programs
    on C(PATH), in its own systemd unit with the sandbox and the slice of the app's workers.
  - When the Ansible run ends early, for example by a lost connection, the command is stopped too.
options:
  app:
    description: Name of the app.
    type: str
    required: true
  command:
    description: One line, run by C(/bin/sh -e).
    type: str
    required: true
  timeout:
    description: Time limit in seconds. The command is stopped after it.
    type: int
    default: 3600
author: ["Emperor Stack maintainers (!UNKNOWN)"]
attributes:
  check_mode:
    description: Nothing is run.
    support: full
  diff_mode:
    description: The module cannot know what a command changes.
    support: none
"""

EXAMPLES = r"""
- name: Create an administrator
  emperor.stack.app_command:
    app: blog
    command: python manage.py createsuperuser --noinput
"""

RETURN = r"""
output:
  description: The last 64 KiB of the command's output, standard error included, with the app's secrets masked.
  type: str
  returned: when the command ran
rc:
  description: Exit status of the command.
  type: int
  returned: when the command ended by itself
release:
  description: The release that the command ran in.
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
