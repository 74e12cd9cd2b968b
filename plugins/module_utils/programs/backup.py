"""backup: save the data of this host, show what is saved, and put the data of one app back.

    backup save                                 save all of it, as emperor-stack-backup.service does each night
    backup now                                  start that service, and show what becomes of it
    backup prove                                restore the newest one into a place of its own, and look whether it is whole,
                                                as emperor-stack-restore-test.service does each week
    backup test                                 start that service, and show what becomes of it
    backup show                                 what became of the last backup, and of the last restore test
    backup status                               the same as JSON
    backup list                                 all backups of this host
    backup check                                whether the repository is whole
    backup fetch-files APP [HOST [TIME]]        get the files of an app; what it has stays as it is
    backup fetch-database NAME [HOST [TIME]]    the same with a database
    backup put-files APP                        let the files that were fetched take the place of the app's
    backup put-database NAME                    the same with a database
    backup forget-files APP                     delete the files that were fetched
    backup forget-database NAME                 the same with a database
    backup in-use files:APP database:NAME …     which of these have data that is in use, and why, as JSON

Role backup writes its settings. The last seven are parts of playbooks/restore.yml. It keeps visitors away for both puts.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..app.owned_paths import Misplaced
from ..backup import proving, replaced, restoring, saving
from ..backup.restic import DAY, Restic, settings
from ..database.server import ServerError
from ..host.command import CommandFailed, run
from ..host.output import clean
from ..host.release_error import ReleaseError

UNIT = "emperor-stack-backup.service"
TEST_UNIT = "emperor-stack-restore-test.service"
#: Seconds after which a backup is old: a day, and what a delay and a long run may add.
OLD = 36 * 3600
#: The same of a restore test: a week, a day for its delay, and a day in which a host may be off.
OLD_TEST = 9 * 24 * 3600


def save() -> int:
    saving.save()
    return show()


def prove() -> int:
    proving.prove()
    return show()


def now() -> int:
    return _by_service(UNIT, "the backup", saving.last_backup)


def test() -> int:
    return _by_service(TEST_UNIT, "the restore test", proving.last_test)


def _by_service(unit: str, what: str, last: Callable[[], Mapping[str, Any]]) -> int:
    """By the service: one at a time, and with its low priority. Where it runs already, wait for its end."""
    began = int(time.time())
    try:
        run(["systemctl", "start", unit], what=what, timeout=DAY)
    except CommandFailed:
        # One that has problems has written them down. One that could not begin has not.
        if last().get("began", 0) < began:
            raise
    return show()


def show() -> int:
    """Say what became of the last backup and the last restore test; 1 where one of them is not good, or old."""
    said = summary(saving.last_backup(), proving.last_test())
    print(said["text"])
    if said["restore_test"]["text"]:
        print(said["restore_test"]["text"])
    for problem in said["problems"]:
        if problem != said["text"]:
            print(f"problem: {problem}")
    return int(not said["good"])


def status() -> int:
    print(json.dumps(summary(saving.last_backup(), proving.last_test())))
    return 0


def summary(result: Mapping[str, Any], test: Mapping[str, Any]) -> dict[str, Any]:
    """What became of a backup and of a restore test, for people and for programs. `good`: both are whole, and not old."""
    tested = summary_of_test(test)
    if not result:
        none = "no backup yet"
        return {
            "good": False,
            "time": None,
            "hours": None,
            "text": none,
            "problems": [none],
            "restore_test": tested,
        }
    apps, databases = result["apps"], result["databases"]
    files = sum(one.get("files", 0) for one in apps.values())
    copies = sum(one.get("databases", 0) for one in apps.values())
    problems = [clean(problem) for problem in result["problems"]]
    if time.time() - (result.get("last_good") or 0) > OLD:
        problems.append("the last good backup is older than 36 hours, or there was none")
    problems += [clean(problem) for problem in test.get("problems", [])]
    # A host that has had backups for a while has had a test of one.
    if time.time() - (test.get("last_good") or result.get("first") or time.time()) > OLD_TEST:
        problems.append("the last good restore test is older than 9 days, or there was none")
    return {
        "good": not problems,
        "time": _time(result),
        "hours": _hours(result),
        "text": f"backup of {_time(result)} ({_hours(result)} h ago, {result['seconds']} s): {len(apps)} apps, "
        f"{files} files, {copies} SQLite databases, {len(databases)} databases of PostgreSQL",
        "problems": problems,
        "restore_test": tested,
    }


def summary_of_test(result: Mapping[str, Any]) -> dict[str, Any]:
    if not result:
        return {"good": False, "time": None, "hours": None, "text": ""}
    files = sum(one.get("files", 0) for one in result["apps"].values())
    parts = [*result["apps"].values(), *result["databases"].values()]
    rows = sum(one.get("rows", 0) for one in parts)
    return {
        "good": result["good"],
        "time": _time(result),
        "hours": _hours(result),
        "text": f"restore test of {_time(result)} ({_hours(result)} h ago, {result['seconds']} s): "
        f"{len(result['apps'])} apps, {files} files, {len(result['databases'])} databases of PostgreSQL, {rows} rows",
    }


def _time(result: Mapping[str, Any]) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(result["began"]))


def _hours(result: Mapping[str, Any]) -> float:
    return round((time.time() - result["began"]) / 3600, 1)


def listed() -> int:
    restic = Restic(settings())
    for one in restic.snapshots(restic.host):
        apps = sorted(path.split("/")[3] for path in one["paths"] if path.startswith("/srv/apps/"))
        print(f"{str(one['time'])[:19]}Z  {one['short_id']}  {' '.join(dict.fromkeys(apps))}")
    return 0


def check() -> int:
    print(Restic(settings()).check())
    return 0


def fetch_files(app: str, host: str = "", at: str = "") -> int:
    done = restoring.fetch_files(app, host, at)
    print(f"fetched {done['files']} files of {app} as of {done['snapshot']}")
    return 0


def fetch_database(name: str, host: str = "", at: str = "") -> int:
    done = restoring.fetch_database(name, host, at)
    print(f"fetched database {name} as of {done['snapshot']}")
    return 0


def put_files(app: str) -> int:
    print(f"the files of {app} are restored; what was there is in {restoring.put_files(app)['aside']}")
    return 0


def put_database(name: str) -> int:
    aside = restoring.put_database(name)["aside"]
    print(f"database {name} is restored" + (f"; what was there is database {aside}" if aside else ""))
    return 0


def forget_files(app: str) -> int:
    restoring.forget_files(app)
    return 0


def forget_database(name: str) -> int:
    restoring.forget_database(name)
    return 0


def in_use(*words: str) -> int:
    print(json.dumps(replaced.in_use(list(words), saving.last_backup(), settings().get("postgresql") or "")))
    return 0


#: By name: what to call, and how many words it takes at least and at most.
COMMANDS: Mapping[str, tuple[Callable[..., int], int, int]] = {
    "save": (save, 0, 0),
    "now": (now, 0, 0),
    "prove": (prove, 0, 0),
    "test": (test, 0, 0),
    "show": (show, 0, 0),
    "status": (status, 0, 0),
    "list": (listed, 0, 0),
    "check": (check, 0, 0),
    "fetch-files": (fetch_files, 1, 3),
    "fetch-database": (fetch_database, 1, 3),
    "put-files": (put_files, 1, 1),
    "put-database": (put_database, 1, 1),
    "forget-files": (forget_files, 1, 1),
    "forget-database": (forget_database, 1, 1),
    "in-use": (in_use, 1, 10_000),
}


def main() -> int:
    name, *words = sys.argv[1:] or [""]
    command, least, most = COMMANDS.get(name, (None, 0, 0))
    if command is None or not least <= len(words) <= most:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        return command(*words)
    except (CommandFailed, ReleaseError, ServerError, Misplaced, restoring.CannotRestore) as error:
        print(clean(str(error)), file=sys.stderr)
    except (OSError, ValueError, KeyError) as error:
        print(f"{type(error).__name__}: {clean(str(error))}", file=sys.stderr)
    return 1
