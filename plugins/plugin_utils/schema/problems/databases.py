"""What contradicts itself in the database of one app; a part of `problems`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..faults import Fault
from ..fields.data import REDIS_VARIABLES
from ..rules import databases
from .found import Controller

#: Users of the server itself, and the beginning of those by whose names the role sees what is loaded.
RESERVED_USERS = "default|loaded-.*"


def database_faults(app: Mapping[str, Any], where: str, _controller: Controller) -> Iterator[Fault]:
    if app.get("redis") is True:
        yield from _taken(app, where, "redis", REDIS_VARIABLES)
        if re.fullmatch(RESERVED_USERS, str(app.get("name"))):
            reason = "Redis or Emperor Stack has a user of this name, and the app's user would have its name"
            yield Fault(f"{where}.redis", reason, "give the app another name, or remove redis")
    database = app.get("database")
    wanted = {"engine": database} if isinstance(database, str) else database
    if not isinstance(wanted, Mapping):
        return
    managed = [name for name in ("engine", "name", "extensions") if wanted.get(name) is not None]
    if wanted.get("url") is not None and managed:
        reason = f"`url` is for a server that Emperor Stack does not manage, and `{managed[0]}` for one that it does"
        yield Fault(f"{where}.database.{managed[0]}", reason, "keep one of the two")
    elif wanted.get("url") is None and wanted.get("engine") is None:
        yield Fault(f"{where}.database", "`engine` is missing", "engine: postgresql")
    elsewhere = "" if wanted.get("url") else ", or database: {url: DATABASE_URL}"
    yield from _taken(app, where, "database", ("DATABASE_URL",), elsewhere)
    if wanted.get("engine") is not None:
        yield from _reserved(app.get("name"), where, wanted)
    if (
        app.get("renamed_from") is not None
        and wanted.get("engine") is not None
        and wanted.get("name") is None
    ):
        reason = "the old name's database would stay behind: a database is not renamed with its app"
        fix = f"name: {app['renamed_from']}    # the app's database keeps its old name"
        yield Fault(f"{where}.database.name", reason, fix)


def _reserved(app: Any, where: str, database: Mapping[str, Any]) -> Iterator[Fault]:
    if app in databases.RESERVED_ROLES:
        reason = "the app's role in PostgreSQL would have its name, which PostgreSQL uses for something else"
        yield Fault(f"{where}.name", reason, f"name: {app}-app")
    elif app in databases.RESERVED and database.get("name") is None:
        reason = "the app's database would have the app's name, which PostgreSQL uses for something else"
        yield Fault(f"{where}.database.name", reason, f"name: {app}-data")


def _taken(
    app: Mapping[str, Any], where: str, key: str, variables: Iterable[str], elsewhere: str = ""
) -> Iterator[Fault]:
    """Variables that *key* sets, and that somebody else sets too."""
    env, secrets = app.get("env"), app.get("secrets")
    for name in variables:
        if isinstance(env, Mapping) and name in env:
            fix = f"remove {name} from env, or remove {key}"
            yield Fault(f"{where}.env.{name}", f"`{key}` sets {name}", fix)
        if isinstance(secrets, list | tuple) and name in secrets:
            place = f"{where}.secrets[{list(secrets).index(name)}]"
            yield Fault(place, f"`{key}` sets {name}", f"remove {name} from secrets{elsewhere}")


def secret_of(app: Mapping[str, Any]) -> str:
    """The name of the secret that has the URL of the app's own server; empty without one."""
    database = app.get("database")
    url = database.get("url") if isinstance(database, Mapping) else None
    return url if isinstance(url, str) else ""
