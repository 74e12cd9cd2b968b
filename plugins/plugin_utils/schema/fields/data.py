"""The fields of what an app keeps outside of its files: databases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..faults import Fault
from ..kinds import Choice, Field, ListOf, Section, Text
from ..rules import databases, environment


@dataclass(frozen=True)
class Short(Section):
    """A section for which a single word may stand: the value of its first field."""

    def _whole(self, value: Any) -> Any:
        return {self.fields[0].name: value} if isinstance(value, str) else value

    def faults(self, value: Any, where: str, key: str) -> Iterator[Fault]:
        if isinstance(value, str):
            yield from self.fields[0].kind.faults(value, where, key)
        else:
            yield from super().faults(value, where, key)

    def complete(self, value: Any) -> dict[str, Any]:
        return super().complete(self._whole(value))

    def described(self) -> str:
        return f"{self.fields[0].kind.described()}, or a map"


DATABASE = Short(
    (
        Field(
            "engine",
            Choice(("postgresql",)),
            "The server that Emperor Stack sets up: on the app's own host, or on the host of inventory group `databases`.",
            "engine: postgresql",
        ),
        Field(
            "name",
            Text(databases.name, "lowercase letters, digits, - and _", "shop"),
            "Name of the database, by default the app's. Apps that name the same database share it.",
            "name: shop",
        ),
        Field(
            "extensions",
            ListOf(Text(databases.extension, "name of an extension", "pg_trgm"), unique=True),
            "Extensions to create in the database. `postgresql_packages` installs those that are not part of Debian's "
            "package.",
            "extensions: [pg_trgm, unaccent]",
            default=(),
        ),
        Field(
            "url",
            Text(environment.env_name, "name of a secret", "DATABASE_URL"),
            "Use a server that Emperor Stack does not manage: the secret of this name in "
            "`vault_python_apps_secrets.<app>` becomes `DATABASE_URL`. Excludes the other keys.",
            "url: DATABASE_URL",
        ),
    )
)


#: What `redis` puts into the environment.
REDIS_VARIABLES = ("REDIS_URL", "REDIS_PREFIX")


def uses_postgresql(app: Mapping[str, Any]) -> bool:
    """Whether the completed *app* has a database of Emperor Stack's."""
    return bool(app["database"]["engine"])
