#!/usr/bin/python
"""Remove apps from a host, each with all that it has, in one exchange."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: app_removal
short_description: Remove Python apps from a host, or list what a removal would delete
description:
  - >-
    Removes the processes, units, timers, vassals, sockets, slice, releases, nginx logs, lock, history, files and user of
    exactly the named apps, after archiving their data.
  - Does not remove nginx sites. An app that still has a site is refused, because its visitors would get errors.
  - A refused app is left unchanged while the remaining apps are removed. The task then fails, with a message per app.
  - The next run finishes an interrupted removal.
options:
  apps:
    description: The apps to remove. Apps that are not on the host are ignored.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the app.
        type: str
        required: true
      successor:
        description: Name of the app that took over the data. That app must be live; the archive then has the logs of the
          web server alone.
        type: str
  only:
    description: With O(undeclared), the apps to keep. Every other app on the host is removed.
    type: list
    elements: str
  undeclared:
    description: Also remove every app on the host that is not in O(only).
    type: bool
    default: false
  archive:
    description:
      - First archive the data and the app's logs of the web server in C(/var/backups/emperor-stack/<app>-<time>.tar.gz).
    type: bool
    default: true
  break_lock:
    description: Remove an app even while a deploy of it is under way.
    type: bool
    default: false
  dead:
    description: Tokens of locks whose run is known to have ended. The action plugin of the same name sets them.
    type: list
    elements: str
    default: []
author: ["Emperor Stack maintainers (!UNKNOWN)"]
attributes:
  check_mode:
    description: Lists what would be removed, and changes nothing.
    support: full
  diff_mode:
    description: The result lists what is removed.
    support: none
  idempotence:
    description: Removing an app that is not on the host changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Archive the data of an app and remove the app
  emperor.stack.app_removal:
    apps:
      - name: blog
"""

RETURN = r"""
apps:
  description:
    - Per app the removed (or, in check mode, removable) C(user), C(activations), C(units) and C(paths), C(left) for what
      stays, C(archive) for the file with the app's logs and, where C(data_archived) says so, its data, C(not_archived) for
      data that is not in the archive, and C(error) where the removal was refused or failed.
  type: dict
  returned: always
"""

from typing import Any  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ..module_utils.app import removal as app_removal  # noqa: E402
from ..module_utils.app import traces  # noqa: E402
from ..module_utils.app.removal import RemovalRefused  # noqa: E402
from ..module_utils.host.command import CommandFailed  # noqa: E402
from ..module_utils.host.output import printable  # noqa: E402
from ..module_utils.release import failure  # noqa: E402
from ..module_utils.release.lock import Locked  # noqa: E402


def wanted(parameters: dict[str, Any]) -> dict[str, str | None]:
    """The apps that are to go, each with its successor."""
    chosen = {app["name"]: app.get("successor") for app in parameters["apps"]}
    if parameters["undeclared"]:
        stay = set(parameters["only"] or ())
        chosen |= {name: None for name in traces.found_apps() if name not in stay and name not in chosen}
    return chosen


def work(name: str, successor: str | None, options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Remove one app, or look at what that would take away."""
    archive = options["archive"]
    found: dict[str, Any] = {}
    try:
        if not check_mode:
            return app_removal.remove(name, successor, archive, options["break_lock"], options["dead"])
        listing = traces.listing(name)
        found = {**listing.described(), "archive": None}
        if listing:
            app_removal.check(listing, successor, archive, options["break_lock"], options["dead"], site=False)
    except Locked as error:
        return {**found, "error": str(error), "locked": error.holder.content()}
    except (RemovalRefused, CommandFailed, OSError) as error:
        return {**found, "error": str(error) or type(error).__name__}
    except Exception as error:
        # Whatever it is that this app's files bring about, the others are removed.
        return {**found, "error": failure.described(name, error)}
    return found


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "apps": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"name": {"type": "str", "required": True}, "successor": {"type": "str"}},
            },
            "only": {"type": "list", "elements": "str"},
            "undeclared": {"type": "bool", "default": False},
            "archive": {"type": "bool", "default": True},
            "break_lock": {"type": "bool", "default": False},
            "dead": {"type": "list", "elements": "str", "default": [], "no_log": False},
        },
        required_if=[("undeclared", True, ["only"])],
        supports_check_mode=True,
    )
    chosen = wanted(module.params)
    apps = printable(
        {name: work(name, after, module.params, module.check_mode) for name, after in chosen.items()}
    )
    changed = any(
        outcome.get("user") or outcome.get("units") or outcome.get("paths") for outcome in apps.values()
    )
    failed = [name for name, outcome in apps.items() if outcome.get("error")]
    if failed:
        module.fail_json(
            msg="\n".join(f"{name}: {apps[name]['error']}" for name in failed), apps=apps, changed=changed
        )
    module.exit_json(apps=apps, changed=changed)


if __name__ == "__main__":
    main()
