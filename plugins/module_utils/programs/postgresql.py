"""postgresql: bring PostgreSQL's settings, roles and databases into the state that the inventory wants.

`state` and `absent-state` print the digest of the wanted state where PostgreSQL has it, `apply` and `remove` bring it about.
Role postgresql calls all of them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..database import archive, catalog, identities
from ..database.server import Server, ServerError, lines
from ..host import layout
from ..host.command import CommandFailed

PLACE = "/etc/emperor-stack/postgresql"


def _wanted(name: str) -> dict[str, Any]:
    with open(f"{PLACE}/{name}.json", encoding="utf-8") as file:
        return dict(json.load(file))


def differences(server: Server, wanted: Mapping[str, Any]) -> list[str]:
    state = server.state()
    found = [*lines(state, wanted["digest"]), *catalog.statements(state, wanted["apps"])]
    if identities.differ(server.identities, _roles(wanted)):
        found.append("PostgreSQL's map of users lacks those who restore")
    if found:
        return found
    return [
        f"database {database} lacks extension {extension}"
        for database, those in catalog.extensions(wanted["apps"]).items()
        for extension in sorted(set(those) - server.installed_extensions(database))
    ]


def _roles(wanted: Mapping[str, Any]) -> list[str]:
    return [app["name"] for app in wanted["apps"]]


def state() -> int:
    wanted = _wanted("wanted")
    found = differences(Server(wanted["version"]), wanted)
    print(wanted["digest"] if not found else f"differs: {found[0]}")
    return 0


def apply() -> int:
    wanted = _wanted("wanted")
    server = Server(wanted["version"])
    server.check_version()
    server.start()
    there = server.state()
    if there["checksums"] == "off":
        if set(there["databases"]) <= set(catalog.COMMON):
            server.add_checksums()
        else:
            print("checksums are off: docs/databases.md says how to enable them in a cluster with data")
    identities.write(server.identities, _roles(wanted))
    server.load(wanted["digest"])
    if pending := server.state()["restart"]:
        server.control("restart")
        server.wait()
        print(f"PostgreSQL restarted for {', '.join(pending)}")
    if wanted.get("point_in_time"):
        archive.create(wanted["archive"])
    for statement in catalog.statements(server.state(), wanted["apps"]):
        server.sql(statement, what="creating roles and databases")
    for database, extensions in catalog.extensions(wanted["apps"]).items():
        for extension in sorted(set(extensions) - server.installed_extensions(database)):
            server.sql(
                f"create extension {catalog.name(extension)} schema public cascade",
                database,
                f"creating extension {extension} in database {database} (does postgresql_packages have its package?)",
            )
    return 0


def absent_state() -> int:
    wanted = _wanted("absent")
    state = Server(wanted["version"]).state()
    there = [app for app in wanted["absent"] if catalog.ours(state, app)]
    print(wanted["digest"] if not there else f"differs: {', '.join(there)}")
    return 0


def remove() -> int:
    """Archive and drop what only absent apps have, then their roles."""
    wanted = _wanted("absent")
    server = Server(wanted["version"])
    for app in wanted["absent"]:
        state = server.state()
        # A role of the same name that somebody else made stays.
        if not catalog.ours(state, app):
            continue
        drops = [f"drop role {catalog.name(app)}"]
        for database in catalog.only_of(state, app):
            for one in catalog.owned(state, database):
                # What a restore has kept aside goes without an archive.
                _drop(server, app, one, wanted["archive"] and one == database)
            drops.append(f"drop role {catalog.name(database + catalog.OWNER)}")
        for database in catalog.shared_with(state, app):
            owner = catalog.name(database + catalog.OWNER)
            role = catalog.name(app)
            server.sql(f"reassign owned by {role} to {owner}; drop owned by {role}", database)
        # Together: the app's role is known as ours by the other one.
        server.sql(f"begin; {'; '.join(drops)}; commit")
    return 0


def save() -> int:
    """A backup for restores to any moment, by a timer."""
    print(f"{archive.save()} backup is in the archive")
    return 0


def _drop(server: Server, app: str, database: str, archive: bool) -> None:
    # An app may make a template of its database, which could not be dropped.
    server.sql(f"alter database {catalog.name(database)} with allow_connections true is_template false")
    if archive:
        print(f"{database} is in {_archive(server, app, database)}")
    server.sql(f"drop database {catalog.name(database)} with (force)")


def _archive(server: Server, app: str, database: str) -> str:
    os.makedirs(layout.BACKUPS, mode=0o700, exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = f"{layout.BACKUPS}/{app}-{stamp}.{database}.dump"
    server.dump(database, path)
    return path


COMMANDS: Mapping[str, Callable[[], int]] = {
    "state": state,
    "apply": apply,
    "absent-state": absent_state,
    "remove": remove,
    "save": save,
}


def main() -> int:
    command = COMMANDS.get(sys.argv[1] if len(sys.argv) == 2 else "")
    if command is None:
        print(f"usage: postgresql {'|'.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        return command()
    except (CommandFailed, ServerError, catalog.Foreign, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
