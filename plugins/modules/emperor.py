#!/usr/bin/python
"""Keep one up-to-date emperor running, and move the apps to a fresh one when it is not."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: emperor
short_description: Run the uWSGI Emperor, and replace it under traffic when it is out of date
description:
  - Two emperors, C(a) and C(b), share a unit template. One of them runs. When its unit, its settings, the uWSGI binary or a
    library changed, the other one is started, each app is started there, probed and switched over, and the first stops.
  - Apps whose sockets an earlier version of the bundle let them bind themselves are restarted in the same way.
  - With V(replaced), apps whose server is a systemd unit, such as gunicorn, are restarted in the same way.
  - With O(apps), only these apps are restarted, in the same way, under the running emperor.
  - An app that does not start under the new emperor stays where it is; the old emperor then keeps running, the task fails,
    and the next run tries again.
options:
  state:
    description: V(started) starts an emperor, or replaces an outdated one. V(replaced) always replaces it.
    type: str
    choices: [started, replaced]
    default: started
  apps:
    description:
      - Names of apps to restart. The emperor and all other apps keep running.
      - If omitted, O(state) applies to the emperor and all apps.
    type: list
    elements: str
  leave_to_deploy:
    description:
      - Apps whose releases were made for another Python than the host has now, after an upgrade of Debian, stay on the
        old emperor, which keeps running. Their next deploy starts them on the fresh one. A later task without this option
        stops the old emperor.
    type: bool
    default: false
  http_port:
    description: Port of nginx on the host, for the probe after each switch.
    type: int
    default: 80
author: ["Emperor Stack maintainers (!UNKNOWN)"]
attributes:
  check_mode:
    description: Reports what would be done, and why.
    support: full
  diff_mode:
    description: No file content is involved.
    support: none
  idempotence:
    description: An emperor that is up to date is left alone.
    support: full
"""

EXAMPLES = r"""
- name: Run the emperor
  emperor.stack.emperor:
    state: started

- name: Restart two apps
  emperor.stack.emperor:
    apps: [blog, shop]
"""

RETURN = r"""
emperor:
  description: The emperor that runs now.
  type: str
  returned: always
why:
  description: The reason for the change.
  type: str
  returned: when changed
left:
  description: Apps that were left to their deploy, with O(leave_to_deploy).
  type: list
  elements: str
  returned: always
moved:
  description: Activations that replaced earlier ones.
  type: list
  elements: str
  returned: always
"""

import os  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ..module_utils.emperor import handover, old_sockets  # noqa: E402
from ..module_utils.host import layout, output  # noqa: E402
from ..module_utils.host.command import CommandFailed  # noqa: E402
from ..module_utils.release import failure  # noqa: E402
from ..module_utils.release.lifecycle import NotHealthy  # noqa: E402
from ..module_utils.release.lock import Locked  # noqa: E402
from ..module_utils.systemd import unit_names  # noqa: E402
from ..module_utils.uwsgi import emperor_check  # noqa: E402


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["started", "replaced"], "default": "started"},
            "apps": {"type": "list", "elements": "str"},
            "leave_to_deploy": {"type": "bool", "default": False},
            "http_port": {"type": "int", "default": 80},
        },
        supports_check_mode=True,
    )
    emperor = emperor_check.running_emperor()
    if not os.path.exists(emperor_check.UNIT):
        if module.check_mode:
            module.exit_json(changed=True, emperor=emperor, why="nothing is set up yet", moved=[])
        module.fail_json(msg=f"{emperor_check.UNIT} does not exist; run the role uwsgi_emperor first")
    if module.params["apps"] is not None:
        restart(module, emperor, module.params["apps"])
        return
    moved: list[str] = []
    kept: list[str] = []
    why = None
    try:
        if not os.path.isdir(layout.RUN) and not module.check_mode:
            os.mkdir(layout.RUN)
            os.chmod(layout.RUN, 0o711)
        if not emperor_check.is_running(emperor):
            if not module.check_mode:
                handover.start_unit(emperor)
            module.exit_json(changed=True, emperor=emperor, why="it did not run", moved=[], left=[])
        replaced = module.params["state"] == "replaced"
        emperor, left, why = chosen(emperor, replaced)
        if not why:
            module.exit_json(changed=False, emperor=emperor, moved=[], left=[])
        if module.check_mode:
            module.exit_json(changed=True, emperor=emperor, why=why, moved=[], left=[])
        kept = handover.awaiting_deploy(left) if module.params["leave_to_deploy"] else []
        if failures := move(emperor, left, replaced, module.params["http_port"], moved, kept):
            module.fail_json(
                msg=f"apps were moved to emperor@{emperor} because {why}; these stay on the old emperor "
                "until they start on the new one:\n" + "\n".join(failures),
                emperor=emperor,
                moved=moved,
            )
        if emperor_check.is_running(left) and not kept:
            handover.retire(left)
    except (NotHealthy, Locked, CommandFailed, OSError) as error:
        module.fail_json(msg=output.shown(str(error)), moved=moved)
    module.exit_json(changed=True, emperor=emperor, why=why, moved=moved, left=kept)


def chosen(emperor: str, replaced: bool) -> tuple[str, str, str]:
    """The emperor that is to run, the other one, and why apps have to move; empty where none has to.

    *emperor* runs. *replaced*: its apps move even when it is up to date.
    """
    left = emperor_check.other(emperor)
    why = emperor_check.out_of_date(emperor)
    if replaced:
        why = why or "asked for"
    if why is not None:
        return left, emperor, why
    if emperor_check.is_running(left):
        return emperor, left, f"an earlier move from emperor@{left} did not finish"
    if reachable := old_sockets.apps():
        return (
            emperor,
            left,
            f"sockets of {', '.join(reachable)} are in directories that the apps can write to",
        )
    return emperor, left, ""


def move(
    emperor: str, left: str, replaced: bool, http_port: int, moved: list[str], kept: list[str]
) -> list[str]:
    """Move the apps from emperor *left* to *emperor*, and those with old sockets; a line for each that stays.

    *replaced*: apps whose server is a unit of its own get fresh processes too. New activations are added to *moved*. The
    apps of *kept* stay where they are.
    """
    reachable = old_sockets.apps()
    if not emperor_check.is_running(emperor):
        handover.start_unit(emperor)
    handover.choose(emperor)
    failures = []
    apps = {*handover.apps_under(left), *(unit_names.apps_with_web() if replaced else ()), *reachable}
    for app in sorted(apps.difference(kept)):
        try:
            activation = handover.move_app(app, emperor, http_port, fresh=replaced)
            moved += [activation] if activation else []
            if app in reachable:
                handover.leave_old_sockets(app)
        except Exception as error:
            failures.append(f"{app}: {failure.described(app, error)}")
    return failures


def restart(module: AnsibleModule, emperor: str, apps: list[str]) -> None:
    """Give *apps* fresh processes under *emperor*, and end the module."""
    moved, failures = [], []
    for app in [] if module.check_mode else apps:
        try:
            moved.append(handover.restart_app(app, emperor, module.params["http_port"]))
        except Exception as error:
            failures.append(f"{app}: {failure.described(app, error)}")
    outcome = {
        "changed": bool(moved) or (module.check_mode and bool(apps)),
        "emperor": emperor,
        "moved": moved,
        "left": [],
    }
    if failures:
        module.fail_json(msg="\n".join(failures), **outcome)
    module.exit_json(why="asked for", **outcome)


if __name__ == "__main__":
    main()
