"""postgresql: bring PostgreSQL's settings, roles and databases into the state that the inventory wants.

`state` and `absent-state` print the digest of the wanted state where PostgreSQL has it, `apply` and `remove` bring it about.
`upgrade-check VERSION [ACCEPTED]` says as JSON which version the databases have, `upgrade VERSION` moves them to that one.
Role postgresql calls all of them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..database import archive, catalog, identities, upgrading
from ..database.server import Server, ServerError, lines
from ..debian import checks
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


def upgrade_check(wanted: str, accepted: str = "") -> int:
    """Whether the databases can be moved to version *wanted*. *accepted*: checks whose problems do not count."""
    if upgrading.is_under_way():
        print(json.dumps({"from": "", "under_way": True}))
        return 0
    old = upgrading.old_version(upgrading.clusters(), wanted)
    if old:
        upgrading.check(old, wanted)
        if found := [one.shown() for one in checks.of_backup() if one.check not in accepted.split(",")]:
            raise ServerError("\n".join(found))
    print(json.dumps({"from": old, "under_way": False}))
    return 0


def upgrade(wanted: str) -> int:
    """Move the databases to version *wanted*, or wait for the end of a move that was begun."""
    if upgrading.is_under_way():
        upgrading.move("", wanted, ())
    found = upgrading.clusters()
    if old := upgrading.old_version(found, wanted):
        with upgrading.opened(old, wanted):
            upgrading.move(old, wanted, found)
    print(f"the databases are in PostgreSQL {wanted}")
    return 0


#: By name: what to call, and how many words it takes at least and at most.
COMMANDS: Mapping[str, tuple[Callable[..., int], int, int]] = {
    "state": (state, 0, 0),
    "apply": (apply, 0, 0),
    "absent-state": (absent_state, 0, 0),
    "remove": (remove, 0, 0),
    "save": (save, 0, 0),
    "upgrade-check": (upgrade_check, 1, 2),
    "upgrade": (upgrade, 1, 1),
}


def main() -> int:
    name, *words = sys.argv[1:] or [""]
    command, least, most = COMMANDS.get(name, (None, 0, 0))
    if command is None or not least <= len(words) <= most:
        print(f"usage: postgresql {'|'.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        return command(*words)
    except (CommandFailed, ServerError, catalog.Foreign, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
