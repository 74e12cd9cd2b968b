"""Every change of PostgreSQL in an archive, by pgBackRest: the databases of any moment since the oldest backup in it."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import pwd
import time
from collections.abc import Iterator
from typing import Any

from ..files import trees
from ..host.command import ANSWER, CommandFailed, run
from .server import DATA, DAY, Server, ServerError

CONFIG = "/etc/emperor-stack/postgresql/pgbackrest.conf"
STANZA = "emperor-stack"
UNIT, TIMER = (f"emperor-stack-postgresql-archive.{kind}" for kind in ("service", "timer"))
#: Seconds after which a full backup follows, and after which the last backup is old.
FULL, OLD = 7 * DAY, 1.5 * DAY
#: Seconds in which a change reaches the archive.
ARCHIVED = 300
#: Seconds to replay the changes since a backup.
REPLAYED = 6 * 3600


def pgbackrest(*words: str, timeout: float = DAY, whole: int | None = None) -> str:
    """What pgBackRest says, as user postgres. Raises CommandFailed."""
    settings = [
        f"--config={CONFIG}",
        f"--stanza={STANZA}",
        "--log-level-console=warn",
        "--log-level-file=off",
    ]
    return run(
        ["runuser", "-u", "postgres", "--", "pgbackrest", *settings, *words],
        what=f"pgbackrest {words[-1]}",
        timeout=timeout,
        whole=whole,
    )


def create(directory: str) -> None:
    """Make the archive, where there is none yet, in *directory* where it is on this host; and its first backup.

    Raises CommandFailed and OSError.
    """
    if directory and not os.path.lexists(directory):
        os.mkdir(directory, 0o750)
        account = pwd.getpwnam("postgres")
        os.chown(directory, account.pw_uid, account.pw_gid)
    try:
        pgbackrest("stanza-create", timeout=600)
    except CommandFailed as error:
        # PostgreSQL has another version since then.
        if "do not match" not in error.output:
            raise
        pgbackrest("stanza-upgrade", timeout=600)
    run(["systemctl", "enable", "--quiet", "--now", TIMER], what=f"enabling {TIMER}", timeout=60)
    if not backups():
        run(["systemctl", "start", "--no-block", UNIT], what=f"starting {UNIT}", timeout=60)


def backups() -> list[dict[str, Any]]:
    """All backups in the archive, the oldest first."""
    (found,) = json.loads(pgbackrest("--output=json", "info", timeout=600, whole=ANSWER)) or [{}]
    return list(found.get("backup") or [])


def save() -> str:
    """Add a backup: a full one each week, what has changed since then on other days. Returns its kind."""
    full = [one["timestamp"]["stop"] for one in backups() if one["type"] == "full"]
    # An hour less: the timer is not exact.
    kind = "incr" if full and time.time() - max(full) < FULL - 3600 else "full"
    pgbackrest(f"--type={kind}", "backup")
    return kind


def problems(server: Server) -> list[str]:
    """Why the databases of a moment could not be restored."""
    try:
        newest = max((one["timestamp"]["stop"] for one in backups()), default=0)
    except CommandFailed as error:
        return [f"archive of PostgreSQL: {error}"]
    found = []
    if time.time() - newest > OLD:
        found.append("archive of PostgreSQL: no backup in the last 36 hours")
    failing = "select coalesce(last_failed_time > last_archived_time, last_failed_time is not null) from pg_stat_archiver"
    if server.sql(failing).strip() == "t":
        found.append("archive of PostgreSQL: changes do not reach it; /var/log/postgresql says why")
    return found


class Past(Server):
    """The databases of an earlier moment, in a directory of their own; only user postgres connects to them."""

    def __init__(self, version: str) -> None:
        super().__init__(version)
        self.place = f"{DATA}/{version}/emperor-restore"

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PGHOST": self.place}

    def restore(self, database: str, moment: datetime.datetime) -> None:
        """Get the files of *database* and the changes up to *moment*. Raises CommandFailed and OSError."""
        trees.remove(self.place)
        os.mkdir(self.place, 0o700)
        account = pwd.getpwnam("postgres")
        os.chown(self.place, account.pw_uid, account.pw_gid)
        until = [f"--pg1-path={self.place}", "--type=time", "--target-action=promote"]
        until.append(f"--target={moment.astimezone(datetime.UTC):%Y-%m-%d %H:%M:%S.%f+00}")
        try:
            pgbackrest(*until, f"--db-include={database}", "restore")
        except CommandFailed as error:
            # It was created after the last backup, so that only the changes have it.
            if "does not exist" not in error.output:
                raise
            pgbackrest(*until, "restore")

    def begin(self) -> None:
        """Replay the changes, then let it answer. Raises CommandFailed and ServerError."""
        with open(f"{self.place}/emperor_hba.conf", "x", encoding="utf-8") as file:
            file.write("local all postgres peer\n")
            os.fchmod(file.fileno(), 0o644)
        settings = {
            "config_file": f"/etc/postgresql/{self.version}/main/postgresql.conf",
            "data_directory": self.place,
            "hba_file": f"{self.place}/emperor_hba.conf",
            "external_pid_file": f"{self.place}/external.pid",
            "unix_socket_directories": self.place,
            "listen_addresses": "",
            "archive_mode": "off",
            "shared_buffers": "64MB",
            "ssl": "off",
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self._control("start", "--wait", f"--timeout={REPLAYED}", f"--options={options}")
        end = time.monotonic() + REPLAYED
        while self.sql("select pg_is_in_recovery()").strip() != "f":
            if time.monotonic() > end:
                raise ServerError("PostgreSQL still replays changes after 6 hours")
            time.sleep(0.5)

    def end(self) -> None:
        """Stop it, and delete all of it."""
        with contextlib.suppress(CommandFailed):
            self._control("stop", "--mode=immediate", "--wait")
        trees.remove(self.place)

    def _control(self, action: str, *words: str) -> None:
        control = [
            self.program("pg_ctl"),
            action,
            f"--pgdata={self.place}",
            f"--log={self.place}/emperor.log",
        ]
        try:
            self.as_postgres([*control, *words], f"pg_ctl {action}", timeout=REPLAYED + 60)
        except CommandFailed as error:
            raise ServerError(f"{error}\n{self._last_lines()}") from error

    def _last_lines(self) -> str:
        with contextlib.suppress(OSError), open(f"{self.place}/emperor.log", errors="replace") as file:
            return "".join(file.readlines()[-5:]).strip()
        return ""


@contextlib.contextmanager
def at(server: Server, database: str, moment: datetime.datetime) -> Iterator[Past]:
    """*database* of *server* as it was at *moment*, in a server of its own. Raises ServerError, CommandFailed, OSError."""
    if moment > datetime.datetime.now(datetime.UTC):
        raise ServerError(f"{moment} is still to come")
    _archive_all(server)
    past = Past(server.version)
    try:
        past.restore(database, moment)
        past.begin()
        yield past
    finally:
        past.end()


def _archive_all(server: Server) -> None:
    """Let all changes until now reach the archive: a moment after the last one in it could not be found there."""
    segment = server.sql(
        "select pg_current_xact_id() is null; select pg_walfile_name(pg_switch_wal())"
    ).split()[-1]
    end = time.monotonic() + ARCHIVED
    while server.sql("select coalesce(last_archived_wal, '') from pg_stat_archiver").strip() < segment:
        if time.monotonic() > end:
            raise ServerError("changes do not reach the archive; /var/log/postgresql says why")
        time.sleep(0.5)
