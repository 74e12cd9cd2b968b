#!/usr/bin/python
"""Remove apps from a host, each with all that it has, in one exchange."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: app_removal
short_description: Remove Python apps from a host, or tell what that would take away
description:
  - >-
    Of exactly the apps that are named, it removes processes, units, timers, vassals, sockets, the slice, releases, logs of
    nginx, lock, history, files and the user. Their data is put into an archive before.
  - Sites of nginx are not its affair. An app that still has one is refused, as visitors would meet errors.
  - An app that is refused is left as it was, and the others are removed. The result then is failed, with a message per app.
  - A removal that was cut off is finished by the next one.
options:
  apps:
    description: The apps that are to go. One that is not on the host changes nothing.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the app.
        type: str
        required: true
      successor:
        description: Name of the app that took over its data. It has to be live; no archive is made.
        type: str
  only:
    description: With O(undeclared), the apps beside those of O(apps) that stay. All others that are found on the host go.
    type: list
    elements: str
  undeclared:
    description: Remove also all apps of the host that are not in O(only).
    type: bool
    default: false
  archive:
    description: Put the data into C(/var/backups/emperor-stack/<app>-<time>.tar.gz) before.
    type: bool
    default: true
  break_lock:
    description: Remove an app also while a deploy of it is under way.
    type: bool
    default: false
  dead:
    description: Tokens of owners of locks whose run is known to have ended. The action plugin of the same name finds them.
    type: list
    elements: str
    default: []
author: ["Emperor Stack maintainers (!UNKNOWN)"]
attributes:
  check_mode:
    description: Lists what would go, and changes nothing.
    support: full
  diff_mode:
    description: What goes is in the result.
    support: none
  idempotence:
    description: An app that is gone changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Remove an app, with an archive of its data
  emperor.stack.app_removal:
    apps:
      - name: blog
"""

RETURN = r"""
apps:
  description:
    - Per app C(user), C(activations), C(units) and C(paths) that went or would go, C(left) for what stays, C(archive) for
      the file with its data, C(not_archived) for what of it is not in there, and C(error) where it was refused or failed.
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
    archive = options["archive"] and successor is None
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
    changed = any(one.get("user") or one.get("units") or one.get("paths") for one in apps.values())
    failed = [name for name, one in apps.items() if one.get("error")]
    if failed:
        module.fail_json(
            msg="\n".join(f"{name}: {apps[name]['error']}" for name in failed), apps=apps, changed=changed
        )
    module.exit_json(apps=apps, changed=changed)


if __name__ == "__main__":
    main()
