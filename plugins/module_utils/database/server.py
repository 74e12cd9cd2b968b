"""The PostgreSQL of this host: its programs, its service, and answers of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from ..host.command import ANSWER, CommandFailed, run
from . import catalog

CLUSTERS = "/etc/postgresql"
SOCKETS = "/run/postgresql"
PROGRAMS = "/usr/lib/postgresql"
DATA = "/var/lib/postgresql"
PORT = "5432"
#: What an app may set for all sessions in its own database, those of the superuser as well: none of it is to reach ours.
OVERRIDDEN = {
    "search_path": "pg_catalog",
    "role": "none",
    "local_preload_libraries": "",
    "default_transaction_read_only": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "standard_conforming_strings": "on",
    "client_encoding": "UTF8",
}
#: The same, since version 17.
OVERRIDDEN_17 = {"transaction_timeout": "0"}
#: Seconds that PostgreSQL may take to start, after a crash as well, or to load its settings.
START, LOAD = 300, 10
DAY = 24 * 3600
#: Lines of a dump's table of contents: an extension, and its comment, which only its owner may set.
EXTENSION = re.compile(r"\d+; \d+ \d+ EXTENSION - ([a-z][a-z0-9_-]*)")
OF_EXTENSIONS = re.compile(r"\d+; \d+ \d+ (?:EXTENSION - |COMMENT - EXTENSION )")


class ServerError(Exception):
    """PostgreSQL cannot be brought into the wanted state; the message says what to do."""


class Server:
    """Cluster `main` of one version, as Debian's package creates it."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.unit = f"postgresql@{version}-main.service"
        self.identities = f"{CLUSTERS}/{version}/main/pg_ident.conf"

    def program(self, name: str) -> str:
        return f"{PROGRAMS}/{self.version}/bin/{name}"

    def environment(self) -> dict[str, str]:
        """Of a client: it connects to this cluster, and no setting of a database counts for it."""
        settings = {**OVERRIDDEN, **(OVERRIDDEN_17 if self.version >= "17" else {})}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        return {"PGHOST": SOCKETS, "PGPORT": PORT, "PGOPTIONS": options}

    def as_postgres(self, argv: list[str], what: str, script: str = "", timeout: float = 300) -> str:
        """The output of *argv*, run as user postgres with *script* as its input. Raises CommandFailed."""
        with tempfile.TemporaryFile() as file:
            # Not as an argument, which every user of the host can read.
            file.write(script.encode())
            file.seek(0)
            return run(
                ["runuser", "-u", "postgres", "--", *argv],
                what=what,
                env=self.environment(),
                stdin=file,
                whole=ANSWER,
                timeout=timeout,
            )

    def sql(self, script: str, database: str = "postgres", what: str = "asking PostgreSQL") -> str:
        """What *script* prints. Raises CommandFailed."""
        psql = [self.program("psql"), "-XAtq", "--set=ON_ERROR_STOP=1", f"--dbname={database}", "--file=-"]
        return self.as_postgres(psql, what, f"{script};\n")

    def state(self) -> dict[str, Any]:
        return dict(json.loads(self.sql(catalog.STATE)))

    def installed_extensions(self, database: str) -> set[str]:
        return set(self.sql("select extname from pg_catalog.pg_extension", database).split())

    def check_version(self) -> None:
        """Raises ServerError where an upgrade of Debian has left the databases in a cluster of another version."""
        if self.port() == PORT:
            # pg_upgradecluster gives it to the cluster that has the data, and the old cluster may stay for a while.
            return
        there = sorted(os.listdir(CLUSTERS)) if os.path.isdir(CLUSTERS) else []
        for other in there:
            if other != self.version and os.path.isdir(f"{DATA}/{other}/main/base"):
                raise ServerError(
                    f"this host has a cluster of PostgreSQL {other}, and PostgreSQL {self.version} is wanted. Either move "
                    "the data by playbooks/upgrade_postgresql.yml (docs/databases.md, Upgrade PostgreSQL), or set "
                    f"postgresql_version: '{other}' for this host"
                )

    def port(self) -> str:
        """The port in the cluster's own configuration; empty where there is none."""
        with (
            contextlib.suppress(OSError),
            open(f"{CLUSTERS}/{self.version}/main/postgresql.conf", encoding="utf-8") as file,
        ):
            ports = re.findall(r"^port *= *([0-9]+)", file.read(), re.MULTILINE)
            return ports[-1] if ports else ""
        return ""

    def is_active(self) -> bool:
        with contextlib.suppress(CommandFailed):
            run(["systemctl", "is-active", "--quiet", self.unit], what="asking systemd", timeout=30)
            return True
        return False

    def control(self, action: str) -> None:
        run(["systemctl", action, self.unit], what=f"systemctl {action} {self.unit}", timeout=START)

    def start(self) -> None:
        """Let it run, now and after a boot."""
        run(["systemctl", "enable", "--quiet", "postgresql.service"], what="enabling PostgreSQL", timeout=60)
        if not self.is_active():
            self.control("start")
        self.wait()

    def wait(self) -> None:
        """Until it answers. Raises CommandFailed."""
        end = time.monotonic() + START
        while True:
            try:
                self.sql("select 1")
                return
            except CommandFailed:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def add_checksums(self) -> None:
        """Let it recognise blocks that the disk has changed: in a cluster without data, where that takes a second."""
        self.control("stop")
        try:
            data = f"{DATA}/{self.version}/main"
            self.as_postgres(
                [self.program("pg_checksums"), "--enable", "--pgdata", data], "enabling checksums"
            )
        finally:
            self.control("start")
        self.wait()

    def load(self, digest: str) -> None:
        """Let it load its settings, which have *digest*. Raises ServerError."""
        self.control("reload")
        end = time.monotonic() + LOAD
        while self.sql("select current_setting('emperor_stack.digest', true)").strip() != digest:
            if time.monotonic() > end:
                raise ServerError(
                    f"PostgreSQL refuses its new settings and keeps the old ones: {self._refused()}"
                )
            time.sleep(0.1)
        if refused := self._refused_rules():
            raise ServerError(f"PostgreSQL refuses a line of its access rules: {refused}")

    def _refused(self) -> str:
        said = self.sql(
            "select format('%s, line %s: %s: %s', sourcefile, sourceline, name, error) from pg_file_settings "
            "where error is not null and error not like 'setting could not be applied%' limit 3"
        ).strip()
        return said or f"journalctl -u {self.unit} says why"

    def _refused_rules(self) -> str:
        return self.sql(
            "select format('line %s: %s', line_number, error) from pg_hba_file_rules where error is not null limit 3"
        ).strip()

    def end_sessions(self, database: str) -> None:
        """End all connections to *database*."""
        which = "select pg_terminate_backend(pid) from pg_stat_activity where datname ="
        self.sql(f"{which} {catalog.text(database)}")

    def drop(self, database: str) -> None:
        """Drop *database*, where it is there, and end its sessions."""
        self.sql(f"drop database if exists {catalog.name(database)} with (force)")

    def rows(self, database: str) -> int:
        """How many rows the tables of *database* have."""
        return int(self.sql(catalog.ROWS, database, "counting rows"))

    def dump(self, database: str, path: str, compressed: bool = True) -> None:
        """Write *database* to *path*, which is new, and look whether the copy is whole. Raises CommandFailed and OSError."""
        with open(path, "xb") as file:
            os.fchmod(file.fileno(), 0o600)
        # The shell, as root, opens the file; pg_dump itself runs as postgres.
        user = "setpriv --reuid=postgres --regid=postgres --init-groups"
        command = f'exec {user} "$0" --format=custom "$3" --dbname="$1" >"$2"'
        level = f"--compress={6 if compressed else 0}"
        run(
            ["sh", "-c", command, self.program("pg_dump"), database, path, level],
            what=f"pg_dump of {database}",
            env=self.environment(),
            timeout=DAY,
        )
        self._contents(path)

    def _contents(self, path: str) -> list[str]:
        """The table of contents of the dump at *path*, a line each."""
        with open(path, "rb") as file:
            return run(
                [self.program("pg_restore"), "--list"],
                what="reading the dump",
                stdin=file,
                whole=64 * 1024 * 1024,
                timeout=3600,
            ).splitlines()

    def dumped_rows(self, path: str) -> int:
        """How many rows are in the dump at *path*: lines between beginning and end of a COPY. Raises CommandFailed."""
        user = "setpriv --reuid=postgres --regid=postgres --init-groups"
        count = """!inside && /^COPY .* FROM stdin;$/ {inside = 1; next} $0 == "\\\\." {inside = 0} inside {rows++}"""
        command = f'{user} "$0" --data-only --file=- | awk "$1"'
        with open(path, "rb") as file:
            said = run(
                ["sh", "-c", command, self.program("pg_restore"), f"{count} END {{print rows + 0}}"],
                what="counting rows of the dump",
                stdin=file,
                whole=100,
                timeout=DAY,
            )
        return int(said)

    def load_dump(self, path: str, database: str, role: str, owner: str) -> None:
        """Load the dump at *path* into the empty *database* as the app's *role*, acting as *owner*. Raises CommandFailed.

        Not as postgres: a table may call functions of the app while its rows are loaded. Extensions are made before.
        """
        contents = self._contents(path)
        for line in contents:
            if found := EXTENSION.match(line):
                self.sql(f"create extension if not exists {catalog.name(found[1])} schema public", database)
        wanted = [line for line in contents if not OF_EXTENSIONS.match(line) and not line.startswith(";")]
        with tempfile.NamedTemporaryFile("w", prefix="emperor-restore-") as listed, open(path, "rb") as dump:
            listed.write("\n".join(wanted) + "\n")
            listed.flush()
            os.fchmod(listed.fileno(), 0o644)
            words = ["--no-owner", "--no-privileges", "--exit-on-error", f"--use-list={listed.name}"]
            run(
                ["runuser", "-u", "postgres", "--", self.program("pg_restore"), *words]
                + [f"--username={role}", f"--role={owner}", f"--dbname={database}"],
                what=f"pg_restore into {database}",
                env=self.environment(),
                stdin=dump,
                timeout=DAY,
            )


def lines(state: catalog.State, digest: str) -> Iterator[str]:
    """What of the running server differs from its files."""
    if state["digest"] != digest:
        yield "PostgreSQL has not loaded its settings"
    if state["restart"]:
        yield f"PostgreSQL has to restart for {', '.join(state['restart'])}"
