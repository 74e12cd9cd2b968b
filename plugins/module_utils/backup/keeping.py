"""The backup server: delete old backups of all hosts, and look whether their repositories are whole.

A host that was taken over can add backups to its own repository, with any date: by their dates alone, good backups would
seem to be old ones. So what has arrived in the last days stays, by the time that this machine wrote down.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from ..files.atomic import write_atomically
from ..host.command import CommandFailed, run
from .restic import Restic

PLACE = "/etc/emperor-stack/backup-server"
PASSWORD = f"{PLACE}/password"
USER = "restic-rest-server"
STATUS = "/var/lib/emperor-stack-backup-server/status.json"
DAY = 24 * 3600
#: Seconds after which a host that has sent backups should have sent the next one.
SILENT = 36 * 3600


def settings() -> dict[str, Any]:
    with open(f"{PLACE}/settings.json", encoding="utf-8") as file:
        return dict(json.load(file))


def repositories(directory: str) -> list[str]:
    return sorted(name for name in os.listdir(directory) if os.path.isfile(f"{directory}/{name}/config"))


def arrivals(path: str) -> dict[str, float]:
    """When each backup in the repository at *path* has arrived, by its whole name."""
    with os.scandir(f"{path}/snapshots") as entries:
        return {
            entry.name: entry.stat(follow_symlinks=False).st_mtime
            for entry in entries
            if re.fullmatch(r"[0-9a-f]{64}", entry.name)
        }


def to_delete(outdated: list[str], arrived: Mapping[str, float], days: int) -> list[str]:
    """Those of *outdated* backups that have been here for *days*."""
    limit = time.time() - days * DAY
    return [one for one in outdated if arrived.get(one, time.time()) < limit]


class Stored(Restic):
    """A repository that is stored here. restic is the user of the server, to whom all files belong.

    It reads the password from its standard input: that user has no file with it.
    """

    def run(self, *words: str, timeout: float = DAY, whole: int | None = None) -> str:
        account = pwd.getpwnam(USER)
        identity = [
            f"--reuid={account.pw_uid}",
            f"--regid={account.pw_gid}",
            "--clear-groups",
            "--no-new-privs",
        ]
        env = {"RESTIC_REPOSITORY": self.repository, "RESTIC_PASSWORD_FILE": "/dev/stdin", "GOGC": "20"}
        with tempfile.TemporaryFile() as file, open(PASSWORD, "rb") as password:
            # For the user to open it once more, by the name of its standard input.
            os.fchown(file.fileno(), account.pw_uid, account.pw_gid)
            file.write(password.read())
            file.seek(0)
            return run(
                ["setpriv", *identity, "--", "restic", *words, "--no-cache"],
                what=f"restic {words[0]}",
                shown_as=f"restic {words[0]}",
                env=env,
                stdin=file,
                timeout=timeout,
                whole=whole,
            )


def maintain() -> dict[str, Any]:
    """Look after each repository; what fails in one leaves the others alone."""
    wanted = settings()
    result: dict[str, Any] = {"began": int(time.time()), "repositories": {}, "problems": []}
    for name in repositories(wanted["directory"]):
        path = f"{wanted['directory']}/{name}"
        try:
            restic = Stored({"repository": path, "host": name})
            result["repositories"][name] = _maintain(restic, path, wanted)
        except (CommandFailed, OSError, ValueError, KeyError) as error:
            result["problems"].append(f"{name}: {error}")
    write_atomically(STATUS, json.dumps(result, indent=1) + "\n", 0o644)
    return result


def _maintain(restic: Restic, path: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    gone = to_delete(restic.outdated(wanted["keep"]), arrivals(path), int(wanted["keep_days"]))
    if gone:
        restic.delete(gone)
    restic.check()
    return {"deleted": len(gone)}


def summary() -> dict[str, Any]:
    """What is here now, and what became of the last maintenance: for people and for programs."""
    wanted = settings()
    try:
        with open(STATUS, encoding="utf-8") as file:
            last = dict(json.load(file))
    except (FileNotFoundError, ValueError):
        last = {}
    found, problems = {}, list(last.get("problems", []))
    for name in repositories(wanted["directory"]):
        arrived = arrivals(f"{wanted['directory']}/{name}")
        hours = (time.time() - max(arrived.values(), default=0)) / 3600
        found[name] = {"backups": len(arrived), "hours": round(hours, 1)}
        if hours * 3600 > SILENT:
            problems.append(f"{name}: no backup has arrived in the last 36 hours")
    if last and time.time() - last["began"] > SILENT:
        problems.append("old backups were not deleted in the last 36 hours, nor repositories checked")
    said = ", ".join(f"{name} {one['backups']} ({one['hours']} h ago)" for name, one in found.items())
    text = f"backups of {len(found)} hosts: {said or 'none yet'}"
    return {"good": not problems, "text": text, "repositories": found, "problems": problems}
