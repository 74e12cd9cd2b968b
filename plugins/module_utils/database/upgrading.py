"""The move of all databases to another version of PostgreSQL, by Debian's pg_upgradecluster. The old cluster is kept.

The move runs in a unit of its own, which goes on when the controller's connection breaks: the same command waits for it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..host.command import ANSWER, CommandFailed, run
from . import catalog, server
from .server import DATA, DAY, PORT, PROGRAMS, Server, ServerError

UNIT = "emperor-stack-postgresql-upgrade.service"
#: Directories of databases that a cluster has from its beginning: template1, template0 and postgres.
EMPTY = frozenset({"1", "4", "5"})
#: Bytes that stay free beside a copy of the data.
MARGIN = 500 * 10**6


@dataclass(frozen=True)
class Cluster:
    """A cluster `main` of this host, as its files are."""

    version: str
    port: str
    #: Whether there is a database in it beside those that each cluster has.
    used: bool


def clusters() -> list[Cluster]:
    """Those of this host, by version."""
    names = os.listdir(server.CLUSTERS) if os.path.isdir(server.CLUSTERS) else []
    found = [name for name in names if re.fullmatch(r"[0-9]+", name) and Server(name).port()]
    return [Cluster(name, Server(name).port(), _used(name)) for name in sorted(found, key=int)]


def _used(version: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        databases = {name for name in os.listdir(f"{DATA}/{version}/main/base") if name.isdigit()}
        return not databases <= EMPTY
    return False


def old_version(found: Sequence[Cluster], wanted: str) -> str:
    """The version that the databases have, of the clusters *found*; empty where it is the *wanted* one already.

    Raises ServerError where they cannot be moved to that.
    """
    current = next((one for one in found if one.port == PORT), None)
    if current is None:
        raise _problem(
            "no cluster listens on port 5432",
            "run site.yml, which sets one up, or see pg_lsclusters",
        )
    if current.version == wanted:
        return ""
    if int(current.version) > int(wanted):
        raise _problem(
            f"the databases are in PostgreSQL {current.version}, and PostgreSQL {wanted} is wanted, which cannot read them",
            f"set postgresql_version: '{current.version}' for this host",
        )
    if any(one.version == wanted and one.used for one in found):
        raise _problem(
            f"there are databases in PostgreSQL {wanted} already, beside those in PostgreSQL {current.version}",
            f"see which of them the apps need (pg_lsclusters); pg_dropcluster --stop {wanted} main deletes those",
        )
    return current.version


def _problem(reason: str, fix: str) -> ServerError:
    return ServerError(f"PostgreSQL of this host\n  reason: {reason}\n  fix:    {fix}")


def check(old: str, wanted: str) -> int:
    """The bytes of the databases. Raises ServerError where their move would fail, or would leave no room on the disk."""
    if not os.access(f"{PROGRAMS}/{wanted}/bin/pg_upgrade", os.X_OK):
        raise _problem(
            f"PostgreSQL {wanted} is not installed",
            f"apt-get install postgresql-{wanted}, or see why it fails",
        )
    size = _bytes(f"{DATA}/{old}/main")
    free = shutil.disk_usage(DATA).free
    if free < size + MARGIN:
        raise _problem(
            f"the databases are copied, which takes {(size + MARGIN) // 10**6} MB of the disk of {DATA}; "
            f"{free // 10**6} MB are free",
            "make space there",
        )
    return size


def _bytes(path: str) -> int:
    said = run(
        ["du", "--summarize", "--block-size=1", path], what=f"the size of {path}", timeout=600, whole=ANSWER
    )
    return int(said.split()[0])


@contextlib.contextmanager
def opened(old: str, wanted: str) -> Iterator[None]:
    """Open databases that allow no connections, as those that a restore has kept aside: pg_upgrade refuses them.

    Apps do not reach them meanwhile: the access rules let an app into its own database alone. Raises CommandFailed.
    """
    closed = Server(old).sql(
        "select datname from pg_database where not datallowconn and datname <> 'template0'"
    )
    names = [catalog.name(one) for one in closed.splitlines()]

    def allow(version: str, answer: str) -> None:
        for name in names:
            Server(version).sql(f"alter database {name} with allow_connections {answer}")

    allow(old, "true")
    try:
        yield
    finally:
        # Whichever has the databases now.
        allow(wanted if Server(wanted).port() == PORT else old, "false")


def is_under_way() -> bool:
    return _state() in ("activating", "active")


def move(old: str, wanted: str, found: Sequence[Cluster]) -> None:
    """Move the databases from version *old* to *wanted*, or wait for the end of a move that was begun.

    After a failure, the old cluster runs as before. Raises CommandFailed.
    """
    since = "@0"
    if not is_under_way():
        _reset()
        since = f"@{int(time.time())}"
        # Debian's package has made an empty one.
        drop = f"pg_dropcluster --stop {wanted} main" if wanted in {one.version for one in found} else ":"
        script = f"{drop} && exec pg_upgradecluster --method=upgrade -v {wanted} {old} main"
        unit = [f"--unit={UNIT}", "--description=Upgrade PostgreSQL", "--property=Type=oneshot"]
        unit += ["--property=RemainAfterExit=yes", f"--property=TimeoutStartSec={DAY}"]
        run(
            ["systemd-run", "--quiet", "--no-block", *unit, "/bin/sh", "-c", script],
            what=f"starting {UNIT}",
            timeout=60,
        )
    while (state := _state()) not in ("active", "failed", "inactive"):
        time.sleep(1)
    if state == "active":
        _reset()
        return
    said = run(
        [
            "journalctl",
            "--quiet",
            "--no-pager",
            "--output=cat",
            "--lines=25",
            f"--since={since}",
            f"--unit={UNIT}",
        ],
        what="journalctl",
        timeout=60,
    )
    _reset()
    if Server(old).port() == PORT:
        Server(old).start()
    raise CommandFailed(f"the move to PostgreSQL {wanted}", f"journalctl -u {UNIT}", state, said)


def _state() -> str:
    show = ["systemctl", "show", "--property=ActiveState", "--value", UNIT]
    return run(show, what="systemctl show", timeout=60, whole=ANSWER).strip()


def _reset() -> None:
    for verb in ("stop", "reset-failed"):
        with contextlib.suppress(CommandFailed):
            run(["systemctl", verb, UNIT], what=f"systemctl {verb}", timeout=60)
