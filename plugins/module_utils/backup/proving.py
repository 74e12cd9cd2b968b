"""Prove that the newest backup can be restored: into a place of its own, which the apps do not see.

All of it comes from the repository, as a restore takes it: files are counted, each SQLite database is checked and its rows
are counted by the app's user, each dump of PostgreSQL is loaded as the app's role. One after the other, so that only the
largest needs room on the disk.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import shutil
import stat
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..database.server import Server
from ..files import trees
from ..files.atomic import write_atomically
from ..host.command import CommandFailed
from ..host.release_error import ReleaseError
from . import restoring, sqlite
from .restic import Restic, settings
from .saving import DUMPS, MANIFEST, STATE, apps, staged

LAST = f"{STATE}/restore-test.json"
PLACE = f"{STATE}/restore-test"
#: Part of the disk that stays free for everybody else.
SPARE = 0.05


class NotProved(Exception):
    """Something of the backup cannot be restored as it was saved."""


def last_test() -> dict[str, Any]:
    try:
        with open(LAST, encoding="utf-8") as file:
            return dict(json.load(file))
    except (FileNotFoundError, ValueError):
        return {}


def prove() -> dict[str, Any]:
    """Restore all of the newest backup of this host, a part at a time, and keep what became of it."""
    wanted = settings()
    restic, began = Restic(wanted), time.time()
    result: dict[str, Any] = {"began": int(began), "apps": {}, "databases": {}, "problems": []}
    result["last_good"] = last_test().get("last_good")
    os.makedirs(STATE, mode=0o700, exist_ok=True)
    try:
        with restoring.reading(restic):
            snapshot = restoring.chosen(restic.snapshots(restic.host), MANIFEST, "")
        result["snapshot"] = snapshot["time"]
        _prove_all(restic, snapshot, wanted, result)
    except (restoring.CannotRestore, CommandFailed, ReleaseError, OSError, ValueError) as error:
        result["problems"].append(str(error))
    result["seconds"] = round(time.time() - began, 1)
    result["good"] = not result["problems"]
    if result["good"]:
        result["last_good"] = result["began"]
    write_atomically(LAST, json.dumps(result, indent=1) + "\n", 0o600, grp.getgrnam("root").gr_gid)
    return result


def _prove_all(
    restic: Restic, snapshot: Mapping[str, Any], wanted: Mapping[str, Any], result: dict[str, Any]
) -> None:
    with open(_fetched(restic, snapshot, MANIFEST, 0), encoding="utf-8") as file:
        manifest = json.load(file)
    here = set(apps())
    for app, saved in manifest["apps"].items():
        # An app that has left since then has no user who could look at its data.
        if app in here and "error" not in saved:
            _one(result, "apps", app, partial(_files, restic, snapshot, app, saved))
    if wanted.get("postgresql"):
        server = Server(wanted["postgresql"])
        for name, saved in manifest["databases"].items():
            if "error" not in saved:
                _one(result, "databases", name, partial(_database, restic, snapshot, server, name, saved))


def _one(result: dict[str, Any], kind: str, name: str, work: Callable[[], dict[str, Any]]) -> None:
    """Let *work* prove one part; what fails there leaves the others alone."""
    try:
        result[kind][name] = work()
    except (
        NotProved,
        restoring.CannotRestore,
        CommandFailed,
        ReleaseError,
        OSError,
        ValueError,
        KeyError,
    ) as error:
        result[kind][name] = {"error": str(error)}
        what = "database " if kind == "databases" else ""
        result["problems"].append(f"restore test of {what}{name}: {error}")
    finally:
        with contextlib.suppress(ReleaseError):
            trees.remove(PLACE)


def _fetched(restic: Restic, snapshot: Mapping[str, Any], path: str, size: int) -> str:
    """Where *path* of *snapshot*, of *size* bytes, has been restored to. Raises NotProved and CannotRestore."""
    disk = shutil.disk_usage(STATE)
    if size > disk.free - SPARE * disk.total:
        raise NotProved(f"{STATE} has no room for its {size >> 20} MiB. Free some space there")
    return restoring.fetched(restic, snapshot, path, PLACE)


def _files(restic: Restic, snapshot: Mapping[str, Any], app: str, saved: Mapping[str, Any]) -> dict[str, Any]:
    # Each database is there a second time while it is looked at.
    top = _fetched(restic, snapshot, staged(app), 2 * saved["bytes"])
    with trees.opened(top) as descriptor:
        files = sum(stat.S_ISREG(entry.status.st_mode) for entry in trees.walk(descriptor, top))
    wanted = saved["files"] + saved["databases"]
    if files != wanted:
        raise NotProved(f"{files} files came back of {wanted}")
    rows = 0
    for path, count in saved["rows"].items():
        back = _rows(app, top, path)
        if back != count:
            raise NotProved(f"database {trees.printable(path)} came back with {back} rows of {count}")
        rows += back
    return {"files": files, "databases": saved["databases"], "rows": rows}


def _rows(app: str, top: str, path: str) -> int:
    """The rows in the restored database at *path* below *top*, which SQLite finds whole. Raises CommandFailed and OSError.

    SQLite opens it as the app's user and never as root: what an app writes into a database may be made to harm who reads it.
    """
    *above, name = path.split("/")
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(trees.opened(top))
        for part in above:
            inner = os.open(part, trees.DIRECTORY, dir_fd=directory)
            stack.callback(os.close, inner)
            directory = inner
        descriptor = os.open(name, trees.FILE, dir_fd=directory)
        with os.fdopen(descriptor, "rb") as file:
            return sqlite.rows_of(app, path, file)


def _database(
    restic: Restic, snapshot: Mapping[str, Any], server: Server, name: str, saved: Mapping[str, Any]
) -> dict[str, Any]:
    # The dump, and the database that is made of it.
    dump = _fetched(restic, snapshot, f"{DUMPS}/{name}.dump", 3 * saved["bytes"])
    fresh = f"{name}.tested"
    dumped = server.dumped_rows(dump)
    if not restoring.users(server, name):
        # Whatever it contains is loaded as an app's role or not at all, and no app has it any more.
        return {"rows": dumped, "loaded": False}
    restoring.load(server, name, dump, fresh)
    try:
        rows = server.rows(fresh)
    finally:
        server.drop(fresh)
    if rows < dumped:
        raise NotProved(f"{rows} rows came back of {dumped}")
    return {"rows": rows}
