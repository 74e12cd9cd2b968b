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
      renamed_from:
        description: Name of the app of this host whose user, data and history it takes over.
        type: str
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
  leaving:
    description: Names of further apps that the inventory knows, as they are to be removed.
    type: list
    elements: str
    default: []
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
undeclared:
  description: Apps that are on this host, and that the inventory does not know.
  type: list
  elements: str
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

from ..module_utils import app_renaming, layout, sizing  # noqa: E402
from ..module_utils.app_removal import found_apps  # noqa: E402
from ..module_utils.app_renaming import MARK  # noqa: E402
from ..module_utils.host_command import CommandFailed  # noqa: E402
from ..module_utils.release_state import write_atomically  # noqa: E402


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
    # Also for an app that never sleeps: an earlier release, which a rollback brings back, may.
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


def make_directories(app: dict[str, Any], check_mode: bool) -> list[str]:
    """All directories of *app*; return what was done."""
    wanted = list(directories(app))
    old = app["renamed_from"]
    changes = []
    if old and app_renaming.is_app(old):
        # The data moves in a whole: not into directories that were just made for it.
        before = {layout.app_root(app["name"]), layout.state(app["name"]), layout.activations(app["name"])}
        changes += [ensure(one, check_mode) for one in wanted if one.path in before]
        changes += app_renaming.take_over(old, app["name"], check_mode)
    changes += [ensure(one, check_mode) for one in wanted]
    return [line for line in changes if line]


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
        os.makedirs(layout.HOST_STATE, exist_ok=True)
        write_atomically(layout.SIZES, json.dumps(processes, indent=1, sort_keys=True) + "\n", 0o644)
    return f"{layout.SIZES}: written"


def make_user(module: AnsibleModule, app: dict[str, Any]) -> None:
    name, old = app["name"], app["renamed_from"]
    if old and app_renaming.is_app(old):
        try:
            app_renaming.make_user(old, name, layout.cache(name))
        except CommandFailed as error:
            module.fail_json(msg=str(error))
        return
    command = ["useradd", "--system", "--user-group", "--no-create-home"]
    command += ["--home-dir", layout.cache(name), "--shell", "/usr/sbin/nologin"]
    module.run_command([*command, "--comment", MARK, name], check_rc=True)


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
                    "renamed_from": {"type": "str"},
                    "persistent": {"type": "list", "elements": "dict", "default": [], "options": persistent},
                    "size": {"type": "dict", "required": True},
                },
            },
            "leaving": {"type": "list", "elements": "str", "default": []},
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
    unmovable = [reason for app in apps if (reason := app_renaming.refusal(app["renamed_from"], app["name"]))]
    if unmovable:
        module.fail_json(msg="; ".join(unmovable) + ". Nothing was changed.", changes=[])
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
                make_user(module, app)
        if module.check_mode and _id(app["name"], "user") is None:
            continue
        try:
            changes += make_directories(app, module.check_mode)
        except OSError as error:
            module.fail_json(msg=f"{app['name']}: {error}", changes=changes)
    if line := write_sizes(processes, module.check_mode):
        changes.append(line)
    known = (
        {app["name"] for app in apps} | {app["renamed_from"] for app in apps} | set(module.params["leaving"])
    )
    undeclared = [name for name in found_apps() if name not in known]
    module.exit_json(changed=bool(changes), changes=changes, processes=processes, undeclared=undeclared)


if __name__ == "__main__":
    main()
