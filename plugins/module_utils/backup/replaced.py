"""What a restore of a whole host would replace: data in use, unlike that of a host that was set up a moment ago.

Data is in use where this host has saved it in a backup, where a restore has put it there, and where it is here for a day.
"""

from __future__ import annotations

import calendar
import glob
import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..database import catalog
from ..database.server import Server
from ..host import layout
from ..release.state import HISTORY_LINES, AppState
from .restoring import moment

#: Seconds after which data counts as in use, whatever else is known of it.
NEW = 24 * 3600
FILES, DATABASE = "files:", "database:"
#: How the name of a database ends that a restore has kept aside.
STAMP = re.compile(r"[0-9]{8}_[0-9]{6}")


def in_use(words: list[str], last: Mapping[str, Any], version: str) -> dict[str, str]:
    """Why the data that *words* name (`files:APP`, `database:NAME`) is in use; without what may be replaced.

    *last* is the last backup of this host, *version* that of its PostgreSQL. Raises CommandFailed and OSError.
    """
    found = {}
    names = [word.removeprefix(DATABASE) for word in words if word.startswith(DATABASE)]
    databases = _databases(Server(version), names) if names and version else {}
    for word in words:
        kind, _, name = word.partition(":")
        if f"{kind}:" == FILES:
            saved, since = name in last.get("apps", {}), list(_files(name))
        else:
            saved, since = name in last.get("databases", {}), databases.get(name, [])
        if since and (reason := _reason(since, saved, last)):
            found[word] = reason
    return found


def _reason(since: list[tuple[str, float]], saved: bool, last: Mapping[str, Any]) -> str:
    """Why data is in use: *since* has what made it and when, its restores last."""
    what, made = since[-1]
    if what == "restored":
        return f"restored here at {_shown(made)}"
    if saved:
        return f"in this host's own backup of {_shown(last['began'])}"
    return f"here since {_shown(made)}" if time.time() - made > NEW else ""


def _shown(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _files(app: str) -> Iterator[tuple[str, float]]:
    """What made the files of *app*, and when; nothing where it has none."""
    try:
        if not os.listdir(layout.shared(app)):
            return
    except FileNotFoundError:
        return
    history = AppState(app).history(HISTORY_LINES)
    yield "made", moment(str(history[0]["time"])).timestamp() if history else time.time()
    for path in sorted(glob.glob(f"{glob.escape(layout.shared(app))}.before-*")):
        yield "restored", os.lstat(path).st_ctime


def _databases(server: Server, names: list[str]) -> dict[str, list[tuple[str, float]]]:
    """The same of databases *names*."""
    listed = server.sql(
        "select datname, extract(epoch from (pg_stat_file('base/' || oid || '/PG_VERSION')).modification) "
        "from pg_database"
    )
    made = dict(line.rsplit("|", 1) for line in listed.splitlines())
    state = server.state()
    found = {}
    for name in set(names) & made.keys():
        kept = [one.removeprefix(f"{name}_before_") for one in catalog.owned(state, name)]
        restored = [time.strptime(one, "%Y%m%d_%H%M%S") for one in kept if STAMP.fullmatch(one)]
        found[name] = [
            ("made", float(made[name])),
            *(("restored", float(calendar.timegm(one))) for one in restored),
        ]
    return found
