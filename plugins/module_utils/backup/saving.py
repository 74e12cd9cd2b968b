"""A backup of this host: the data of its apps, its databases, and what only this host has of itself."""

from __future__ import annotations

import contextlib
import grp
import hashlib
import json
import os
import pwd
import time
from collections.abc import Iterator
from typing import Any

from ..app import owned_paths
from ..app.renaming import MARK
from ..database import archive, catalog
from ..database.server import Server
from ..files import trees
from ..files.atomic import write_atomically
from ..host import layout
from ..host.command import CommandFailed
from ..host.release_error import ReleaseError
from . import sqlite
from .restic import Incomplete, Restic, settings
from .tree import Tree, entered

#: Where databases of PostgreSQL are dumped to, and what became of the last backup.
STATE = f"{layout.HOST_STATE}/backup"
DUMPS = f"{STATE}/databases"
LAST = f"{STATE}/last.json"
#: What of apps and databases is in a backup, and how much: a part of it, by which a restore is tested.
MANIFEST = f"{STATE}/manifest.json"
#: What only this host has, beside the data of its apps.
OF_THE_HOST = (layout.TLS, *layout.FRONT_LOCAL)


def staged(app: str) -> str:
    """The tree of files of *app* that restic takes: one place, so that restic recognises the files of the last time."""
    return f"{layout.state(app)}/backup"


def apps() -> Iterator[str]:
    """All apps of this host that are whole."""
    for name in sorted(os.listdir(layout.APPS)) if os.path.isdir(layout.APPS) else ():
        with contextlib.suppress(KeyError):
            if pwd.getpwnam(name).pw_gecos.startswith(MARK) and os.path.isdir(layout.state(name)):
                yield name


def stage(app: str) -> dict[str, Any]:
    """Link the files of *app*, with whole copies of its databases, into `staged`.

    Raises ReleaseError, CommandFailed, Misplaced and OSError.
    """
    account = pwd.getpwnam(app)
    place = staged(app)
    trees.remove(place, f"{place}.history.jsonl")
    os.mkdir(place, 0o700)
    disk = os.statvfs(layout.shared(app))
    tree, rows, copied = Tree(account.pw_uid, disk.f_blocks * disk.f_frsize), dict[str, int](), 0
    with owned_paths.opened(layout.APPS, layout.shared(app)) as source, trees.opened(place) as target:
        tree.link(source, target)
        end = time.monotonic() + sqlite.PATIENCE
        for number, path in enumerate(tree.databases):
            name, rows[path] = sqlite.copy(app, path, number, end)
            copied += _put(app, account.pw_uid, name, target, path)
    with contextlib.suppress(FileNotFoundError):
        os.link(f"{layout.state(app)}/history.jsonl", f"{place}.history.jsonl")
    return {
        "files": tree.files,
        "bytes": tree.bytes + copied,
        "databases": len(tree.databases),
        "rows": rows,
        "left_out": tree.left_out[:20],
    }


def _put(app: str, uid: int, name: str, target: int, path: str) -> int:
    """Link the copy *name* of a database of *app* to its *path* in the open directory *target*. Returns its bytes."""
    *above, last = path.split("/")
    with contextlib.ExitStack() as stack:
        copies = stack.enter_context(owned_paths.opened(layout.APPS, sqlite.directory(app)))
        for part in above:
            target = stack.enter_context(entered(target, part))
        os.link(name, last, src_dir_fd=copies, dst_dir_fd=target, follow_symlinks=False)
        linked = os.stat(last, dir_fd=target, follow_symlinks=False)
        if linked.st_uid != uid or linked.st_size == 0:
            raise ReleaseError(f"the copy of database {path} was replaced while it was taken")
        return linked.st_size


def dump(version: str) -> dict[str, Any]:
    """Dump all databases of apps on this host into DUMPS. Returns what became of each."""
    server = Server(version)
    found: dict[str, Any] = {}
    for database, there in sorted(server.state()["databases"].items()):
        if there["owner"] != database + catalog.OWNER:
            continue
        path = f"{DUMPS}/{database}.dump"
        try:
            # Not compressed: restic does that, and finds what is equal to the last time.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{path}.new")
            server.dump(database, f"{path}.new", compressed=False)
            os.rename(f"{path}.new", path)
            found[database] = {"bytes": os.path.getsize(path)}
        except (CommandFailed, OSError) as error:
            found[database] = {"error": str(error)}
    return found


def save() -> dict[str, Any]:
    """Back up this host. What fails of one app is in the result, and the others are saved."""
    wanted = settings()
    began, last = time.time(), last_backup()
    place = hashlib.sha256(str(wanted["repository"]).encode()).hexdigest()
    os.makedirs(DUMPS, mode=0o700, exist_ok=True)
    os.chmod(STATE, 0o700)
    result: dict[str, Any] = {"began": int(began), "apps": {}, "databases": {}, "problems": []}
    # The last good backup, and a hash of the repository that it is in.
    result["last_good"], result["repository"] = last.get("last_good"), last.get("repository")
    result["first"] = last.get("first") or result["began"]
    paths = [MANIFEST, *(path for path in OF_THE_HOST if os.path.isdir(path))]
    for app in apps():
        try:
            result["apps"][app] = stage(app)
            paths += [staged(app), f"{staged(app)}.history.jsonl"]
        except (ReleaseError, CommandFailed, owned_paths.Misplaced, OSError, KeyError) as error:
            result["apps"][app] = {"error": str(error)}
            result["problems"].append(f"{app}: {error}")
    try:
        if wanted.get("postgresql"):
            result["databases"] = dump(wanted["postgresql"])
            paths.append(DUMPS)
        if wanted.get("point_in_time"):
            result["problems"] += archive.problems(Server(wanted["postgresql"]))
        result["problems"] += [
            f"database {name}: {one['error']}" for name, one in result["databases"].items() if "error" in one
        ]
        _write(MANIFEST, {name: result[name] for name in ("began", "apps", "databases")})
        _send(Restic(wanted), paths, wanted, place == last.get("repository"))
        # Whatever else failed: the repository is there.
        result["repository"] = place
    except Incomplete as error:
        result["problems"].append(f"files could not be read: {error}")
    except (CommandFailed, OSError, ValueError) as error:
        result["problems"].append(str(error))
    finally:
        _clear(result["apps"])
    result["seconds"] = round(time.time() - began, 1)
    result["good"] = not result["problems"]
    if result["good"]:
        result["last_good"] = result["began"]
    _write(LAST, result)
    return result


def _write(path: str, content: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(content, indent=1) + "\n", 0o600, grp.getgrnam("root").gr_gid)


def _send(restic: Restic, paths: list[str], wanted: dict[str, Any], known: bool) -> None:
    restic.prepare(known)
    restic.save(paths, "emperor-stack")
    if wanted.get("keep"):
        restic.forget(wanted["keep"], bool(wanted.get("prune")))


def _clear(staged_apps: dict[str, Any]) -> None:
    """Delete the trees: a file that an app deletes would keep its space otherwise."""
    for app in staged_apps:
        with contextlib.suppress(ReleaseError, CommandFailed, OSError):
            trees.remove(staged(app), f"{staged(app)}.history.jsonl")
            # The app's own copies, as the app: root deletes nothing by a path of the app's.
            sqlite.clear(app)


def last_backup() -> dict[str, Any]:
    try:
        with open(LAST, encoding="utf-8") as file:
            return dict(json.load(file))
    except (FileNotFoundError, ValueError):
        return {}
