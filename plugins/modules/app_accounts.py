#!/usr/bin/python
"""Users, directories and sizes of all apps of a host in one exchange."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: app_accounts
short_description: Make the Unix users and directories of a host's apps, and share the host out among them
description:
  - Each app gets a system user and group of its name, without a shell and without a password, and its directories under
    C(/srv/apps) and C(/run/emperor-stack), with owners and modes that keep apps apart.
  - A user of that name that was not made for an app is refused, and so is a host that has not enough memory for its apps.
    Nothing is changed then.
  - How many processes each app may have is written to C(/var/lib/emperor-stack/sizes.json). A release takes it from there
    when it is made.
options:
  apps:
    description: The apps.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the app, of its user and of its group.
        type: str
        required: true
      persistent:
        description: Directories that survive releases, relative to the code.
        type: list
        elements: dict
        default: []
        suboptions:
          path:
            description: Relative path.
            type: str
            required: true
          served:
            description: nginx serves files from it.
            type: bool
            default: false
      size:
        description: C(web), C(limits), C(on_demand) and C(workers) of the completed app.
        type: dict
        required: true
  memory:
    description: Percent of the host's memory that all apps together may take.
    type: int
    required: true
  process_memory:
    description: MiB that one process of an app is expected to take.
    type: int
    required: true
author: [Emperor Stack maintainers]
attributes:
  check_mode:
    description: Says what would change.
    support: full
  diff_mode:
    description: No file content is involved.
    support: none
  idempotence:
    description: A second run changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Make users and directories
  emperor.stack.app_accounts:
    apps:
      - name: blog
        persistent: [{path: media, served: true}]
        size:
          web: {processes: 4}
          limits: {memory: null}
          on_demand: false
          workers: {}
    memory: 90
    process_memory: 80
"""

RETURN = r"""
changes:
  description: What was made or corrected, one line each.
  type: list
  elements: str
  returned: always
processes:
  description: App name to the processes that its next release may have.
  type: dict
  returned: success
"""

import grp  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import pwd  # noqa: E402
import stat  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from typing import Any  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ..module_utils import layout, sizing  # noqa: E402
from ..module_utils.release_state import write_atomically  # noqa: E402

#: Stands in the comment field of the users that this module makes.
MARK = "Emperor Stack app"


@dataclass(frozen=True)
class Directory:
    path: str
    owner: str
    group: str
    mode: int


def directories(app: dict[str, Any]) -> Iterator[Directory]:
    """The directories of *app*, parents first."""
    name = app["name"]
    yield Directory(layout.app_root(name), "root", "root", 0o711)
    yield Directory(layout.releases(name), "root", "root", 0o711)
    yield Directory(layout.activations(name), "root", "root", 0o711)
    yield Directory(layout.state(name), "root", "root", 0o700)
    yield Directory(layout.cache(name), name, name, 0o700)
    yield Directory(layout.temporary(name), name, name, 0o700)
    yield Directory(layout.shared(name), "root", "root", 0o711)
    for item in app["persistent"]:
        parts = item["path"].split("/")
        for depth in range(1, len(parts)):
            yield Directory(f"{layout.shared(name)}/{'/'.join(parts[:depth])}", "root", "root", 0o711)
        group, mode = (layout.FRONT_USER, 0o2750) if item["served"] else (name, 0o700)
        yield Directory(f"{layout.shared(name)}/{item['path']}", name, group, mode)
    yield Directory(layout.socket_directory(name), name, layout.FRONT_USER, 0o2750)
    if app["size"]["on_demand"]:
        yield Directory(layout.waiting(), "root", "root", 0o711)
        yield Directory(layout.waiting_directory(name), "root", layout.FRONT_USER, 0o750)


def stranger(name: str) -> str | None:
    """Why user *name* of this host is none of ours; None when it does not exist or is."""
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        return None
    if account.pw_gecos.startswith(MARK):
        return None
    return (
        f"user {name} (uid {account.pw_uid}, {account.pw_gecos or 'no comment'}) exists and is not an app's"
    )


def _id(name: str, kind: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid if kind == "user" else grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def ensure(directory: Directory, check_mode: bool) -> str | None:
    """Make *directory* so; return what was done, None when it was so."""
    uid, gid = _id(directory.owner, "user"), _id(directory.group, "group")
    try:
        found = os.lstat(directory.path)
    except FileNotFoundError:
        if not check_mode:
            os.mkdir(directory.path, 0o700)
            os.chown(directory.path, uid or 0, gid or 0)
            os.chmod(directory.path, directory.mode)
        return f"{directory.path}: made"
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{directory.path} exists and is no directory; move it away")
    wrong = (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) != (uid, gid, directory.mode)
    if not wrong:
        return None
    if not check_mode:
        os.chown(directory.path, uid or 0, gid or 0)
        os.chmod(directory.path, directory.mode)
    return f"{directory.path}: owner or mode corrected"


def write_sizes(processes: dict[str, int], check_mode: bool) -> str | None:
    """Keep *processes* for the releases to come; return what was done, None when it was known."""
    try:
        with open(layout.SIZES, encoding="utf-8") as file:
            known = json.load(file)
    except (FileNotFoundError, ValueError):
        known = None
    if known == processes:
        return None
    if not check_mode:
        os.makedirs(layout.MEMORY, exist_ok=True)
        write_atomically(layout.SIZES, json.dumps(processes, indent=1, sort_keys=True) + "\n", 0o644)
    return f"{layout.SIZES}: written"


def main() -> None:
    persistent = {"path": {"type": "str", "required": True}, "served": {"type": "bool", "default": False}}
    module = AnsibleModule(
        argument_spec={
            "apps": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "persistent": {"type": "list", "elements": "dict", "default": [], "options": persistent},
                    "size": {"type": "dict", "required": True},
                },
            },
            "memory": {"type": "int", "required": True},
            "process_memory": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    apps = module.params["apps"]
    refused = [reason for app in apps if (reason := stranger(app["name"]))]
    if refused:
        module.fail_json(
            msg="; ".join(refused) + ". Give the app another name, or remove that user.", changes=[]
        )
    host = sizing.here(module.params["memory"], module.params["process_memory"])
    try:
        shares = sizing.shares([{"name": app["name"], **app["size"]} for app in apps], host)
    except sizing.Overcommitted as error:
        module.fail_json(msg=f"{error} Nothing was changed.", changes=[])
    processes = {share.name: share.processes for share in shares}
    changes: list[str] = []
    for app in apps:
        if _id(app["name"], "user") is None:
            changes.append(f"user {app['name']}: made")
            if not module.check_mode:
                command = ["useradd", "--system", "--user-group", "--no-create-home"]
                command += ["--home-dir", layout.cache(app["name"]), "--shell", "/usr/sbin/nologin"]
                module.run_command([*command, "--comment", MARK, app["name"]], check_rc=True)
        if module.check_mode and _id(app["name"], "user") is None:
            continue
        try:
            done = [ensure(directory, module.check_mode) for directory in directories(app)]
        except OSError as error:
            module.fail_json(msg=f"{app['name']}: {error}", changes=changes)
        changes += [line for line in done if line]
    if line := write_sizes(processes, module.check_mode):
        changes.append(line)
    module.exit_json(changed=bool(changes), changes=changes, processes=processes)


if __name__ == "__main__":
    main()
