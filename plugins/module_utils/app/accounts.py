"""Users and directories of apps, and their shares of a host: what module `app_accounts` does and module `drift` asks."""

from __future__ import annotations

import grp
import json
import os
import pwd
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..files.atomic import write_atomically
from ..host import disk_quota, layout, sizing
from ..host.module import Module
from . import logins, owned_paths, renaming
from . import users as app_users
from .owned_paths import Misplaced
from .traces import found_apps


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
    yield Directory(layout.sockets(), "root", "root", 0o711)
    yield Directory(layout.socket_directory(name), "root", layout.FRONT_USER, 0o750)


def _top(path: str) -> str:
    """The directory of root's that *path* lies in: no app can change anything on the way there."""
    return layout.RUN if path.startswith(f"{layout.RUN}/") else layout.APPS


def ensure(directory: Directory, check_mode: bool) -> str | None:
    """Make *directory* so; return what was done, None when it was so. Raises Misplaced, and KeyError without its owner."""
    path, mode = directory.path, directory.mode
    uid, gid = pwd.getpwnam(directory.owner).pw_uid, grp.getgrnam(directory.group).gr_gid
    return owned_paths.ensure_directory(_top(path), path, uid, gid, mode, check_mode)


def make_directories(app: dict[str, Any], check_mode: bool) -> Iterator[str]:
    """All directories of *app*; yields what was done. Raises Misplaced."""
    wanted = list(directories(app))
    old = app["renamed_from"]
    if old and renaming.is_app(old):
        # The data moves in a whole: not into directories that were just made for it.
        before = {layout.app_root(app["name"]), layout.state(app["name"]), layout.activations(app["name"])}
        yield from filter(None, (ensure(one, check_mode) for one in wanted if one.path in before))
        yield from renaming.move_data(old, app["name"], check_mode)
    yield from filter(None, (ensure(one, check_mode) for one in wanted))


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


class UnsuitableHost(Exception):
    """The host as a whole cannot have these apps. Nothing was done."""


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
                "deploy_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
                "pushed": {"type": "bool", "default": False},
                "size": {"type": "dict", "required": True},
            },
        },
        "leaving": {"type": "list", "elements": "str", "default": []},
        "memory": {"type": "int", "required": True},
        "process_memory": {"type": "int", "required": True},
    }


def ensure_all(module: Module) -> dict[str, Any]:
    """Users, directories and the sizes of all apps, each app's failure in its own part of the result.

    Raises UnsuitableHost where the host as a whole cannot have these apps; nothing is done then.
    """
    apps = module.params["apps"]
    host = sizing.here(module.params["memory"], module.params["process_memory"])
    try:
        shares = sizing.shares([{"name": app["name"], **app["size"]} for app in apps], host)
    except sizing.Overcommitted as error:
        raise UnsuitableHost(f"{error} Nothing was changed.") from error
    processes = {share.name: share.processes for share in shares}
    names = {app["name"] for app in apps}
    users = app_users.Users(names)
    results = {app["name"]: ensure_app(app, users, module.check_mode) for app in apps}
    results |= take_logins_away(names, module.check_mode)
    changes = [line for one in results.values() for line in one["changes"]]
    if line := write_sizes(processes, module.check_mode):
        changes.append(line)
    known = names | {app["renamed_from"] for app in apps} | set(module.params["leaving"])
    return {
        "changed": bool(changes),
        "changes": changes,
        "apps": {name: {key: value for key, value in one.items() if value} for name, one in results.items()},
        "processes": processes,
        "undeclared": [name for name in found_apps() if name not in known],
    }


def ensure_app(app: dict[str, Any], users: app_users.Users, check_mode: bool) -> dict[str, Any]:
    """User and directories of one app: `changes`, and `error` where something is in the way."""
    name, old = app["name"], app["renamed_from"]
    changes: list[str] = []
    try:
        # First: nothing that is in the way of the app, which it may itself have put there, keeps a login alive.
        for line in logins.take_away(name, app["deploy_keys"], check_mode):
            changes.append(line)
        if refused := users.refusal(name, old) or renaming.refusal(old, name):
            return {"changes": changes, "error": f"{refused}. Nothing of it was changed"}
        for line in app_users.ensure(app, check_mode):
            changes.append(line)
        # In check mode there may be nobody yet to own them.
        if app_users.user(name) and app_users.group(name):
            for line in make_directories(app, check_mode):
                changes.append(line)
            changes += hold_disk(app, check_mode)
        for line in logins.ensure(app, check_mode):
            changes.append(line)
    except (Misplaced, disk_quota.Unsupported, logins.Taken) as error:
        return {"changes": changes, "error": str(error)}
    except Exception as error:
        # Whatever it is that this app's files or its name bring about, the others go on.
        return {"changes": changes, "error": f"{type(error).__name__}: {error}"}
    return {"changes": changes}


def take_logins_away(apps: Collection[str], check_mode: bool) -> dict[str, Any]:
    """Let nobody log in for another app than *apps*, such as one that was taken out of the inventory and runs on."""
    results: dict[str, Any] = {}
    for app in logins.there():
        if app in apps:
            continue
        changes: list[str] = []
        results[app] = {"changes": changes}
        try:
            for line in logins.take_away(app, [], check_mode):
                changes.append(line)
        except Exception as error:
            results[app]["error"] = f"{type(error).__name__}: {error}"
    return results


def hold_disk(app: dict[str, Any], check_mode: bool) -> list[str]:
    """Hold *app*, whose user and directories are there, to its `limits.disk`; return what was done.

    Raises disk_quota.Unsupported and OSError.
    """
    text = app["size"]["limits"].get("disk")
    limit = disk_quota.Limit.of(text) if text else None
    return disk_quota.ensure(app["name"], pwd.getpwnam(app["name"]).pw_uid, limit, check_mode)


def errors(apps: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is in the way of apps, a line each."""
    return [f"{name}: {result['error']}" for name, result in apps.items() if result.get("error")]


def drift(module: Module) -> list[str]:
    """What a run would do or say, a line each."""
    found = ensure_all(module)
    here = {*found["undeclared"], *(name for name in found_apps() if name in module.params["leaving"])}
    said = [*found["changes"], *errors(found["apps"])]
    return [*said, *(f"{name} is on this host, and not wanted" for name in sorted(here))]
