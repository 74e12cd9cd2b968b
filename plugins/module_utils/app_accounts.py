"""Users and directories of apps, and their shares of a host: what module `app_accounts` does and module `drift` asks."""

from __future__ import annotations

import grp
import json
import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from . import app_renaming, layout, sizing
from .app_removal import found_apps
from .app_renaming import MARK
from .host_command import CommandFailed, run
from .question import Module
from .release_state import write_atomically


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


def make_user(app: dict[str, Any]) -> None:
    """Raises CommandFailed."""
    name, old = app["name"], app["renamed_from"]
    if old and app_renaming.is_app(old):
        app_renaming.make_user(old, name, layout.cache(name))
        return
    command = ["useradd", "--system", "--user-group", "--no-create-home"]
    command += ["--home-dir", layout.cache(name), "--shell", "/usr/sbin/nologin"]
    run([*command, "--comment", MARK, name], what=f"making user {name}", timeout=60)


class Refused(Exception):
    """What cannot be had on this host; `changes` is what was done until then."""

    def __init__(self, text: str, changes: list[str] | None = None) -> None:
        super().__init__(text)
        self.changes = changes or []


def argument_spec() -> dict[str, Any]:
    persistent = {"path": {"type": "str", "required": True}, "served": {"type": "bool", "default": False}}
    return {
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
    }


def ensure_all(module: Module) -> dict[str, Any]:
    """Users, directories and the sizes of all apps. Raises Refused; nothing is done then unless it says so."""
    apps = module.params["apps"]
    if refused := [reason for app in apps if (reason := stranger(app["name"]))]:
        raise Refused("; ".join(refused) + ". Give the app another name, or remove that user.")
    if unmovable := [
        reason for app in apps if (reason := app_renaming.refusal(app["renamed_from"], app["name"]))
    ]:
        raise Refused("; ".join(unmovable) + ". Nothing was changed.")
    host = sizing.here(module.params["memory"], module.params["process_memory"])
    try:
        shares = sizing.shares([{"name": app["name"], **app["size"]} for app in apps], host)
    except sizing.Overcommitted as error:
        raise Refused(f"{error} Nothing was changed.") from error
    processes = {share.name: share.processes for share in shares}
    changes: list[str] = []
    for app in apps:
        try:
            if _id(app["name"], "user") is None:
                changes.append(f"user {app['name']}: made")
                if module.check_mode:
                    continue
                make_user(app)
            changes += make_directories(app, module.check_mode)
        except (CommandFailed, OSError) as error:
            raise Refused(f"{app['name']}: {error}", changes) from error
    if line := write_sizes(processes, module.check_mode):
        changes.append(line)
    known = (
        {app["name"] for app in apps} | {app["renamed_from"] for app in apps} | set(module.params["leaving"])
    )
    undeclared = [name for name in found_apps() if name not in known]
    return {
        "changed": bool(changes),
        "changes": changes,
        "processes": processes,
        "undeclared": undeclared,
    }


def drift(module: Module) -> list[str]:
    """What a run would do or say, a line each."""
    found = ensure_all(module)
    here = {*found["undeclared"], *(name for name in found_apps() if name in module.params["leaving"])}
    return [*found["changes"], *(f"{name} is on this host, and not wanted" for name in sorted(here))]
