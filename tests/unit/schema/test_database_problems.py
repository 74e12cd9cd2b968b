"""The key `database`: what is refused, and what an app that uses it is completed with."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.release.specs import fingerprint
from ansible_collections.emperor.stack.plugins.plugin_utils.schema import apps
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.problems.found import Controller, HostApps
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.problems.inventory import problems

APP = {"name": "blog", "domains": ["b.example"], "source": {"path": "code"}, "wsgi": "b:app"}
CONTROLLER = Controller("/bundle", lambda _: True, lambda _: True)


def found(values: dict[str, str] | None = None, **keys: Any) -> list[tuple[str, str, str]]:
    declared = HostApps([{**APP, **keys}], {"blog": values} if values else {})
    return [(one.where, one.reason, one.fix) for one in problems({"web1": declared}, CONTROLLER)]


@pytest.mark.parametrize(
    ("keys", "place", "reason"),
    [
        ({"database": "mysql"}, "database", '"mysql" is invalid: it must be postgresql'),
        ({"database": True}, "database", "this is the boolean true"),
        ({"database": {"name": "shop"}}, "database", "`engine` is missing"),
        ({"database": {"engine": "postgresql", "url": "URL"}}, "database.engine", "`url` is for a server"),
        ({"database": {"engine": "postgresql", "name": "postgres"}}, "database.name", "uses this name"),
        ({"database": {"engine": "postgresql", "name": "blog_owner"}}, "database.name", "uses this name"),
        (
            {"database": {"engine": "postgresql", "name": 'x"; drop'}},
            "database.name",
            "starts with a lowercase letter",
        ),
        (
            {"database": {"engine": "postgresql", "extensions": ["a b"]}},
            "database.extensions[0]",
            "the name of an extension",
        ),
        ({"database": "postgresql", "renamed_from": "diary"}, "database.name", "is not renamed with its app"),
        ({"database": "postgresql", "name": "public"}, "name", "the app's role in PostgreSQL"),
        ({"database": "postgresql", "name": "template1"}, "database.name", "the app's database"),
        (
            {"database": "postgresql", "env": {"DATABASE_URL": "x"}},
            "env.DATABASE_URL",
            "`database` sets DATABASE_URL",
        ),
    ],
)
def test_what_is_refused(keys: dict[str, Any], place: str, reason: str) -> None:
    (one,) = found({"URL": "postgresql://x"} if "url" in str(keys) else None, **keys)
    assert one[0].endswith(f".{place}") and reason in one[1] and one[2]


def test_an_app_may_have_a_name_that_only_its_database_cannot_have() -> None:
    assert found(name="template1", database={"engine": "postgresql", "name": "shop"}) == []
    assert found(name="public") == []


def test_a_url_is_a_secret_that_has_to_be_there() -> None:
    assert found({"URL": "postgresql://x"}, database={"url": "URL"}) == []
    (one,) = found(database={"url": "URL"})
    assert one[0].endswith(".database.url") and "URL has no value in vault_python_apps_secrets.blog" in one[1]


def test_a_secret_of_the_name_that_the_database_sets_is_refused() -> None:
    (one,) = found({"DATABASE_URL": "x"}, database="postgresql", secrets=["DATABASE_URL"])
    assert one[0].endswith(".secrets[0]") and "database: {url: DATABASE_URL}" in one[2]


def test_the_short_form_and_the_long_one_are_the_same() -> None:
    short, long = (
        apps.complete({**APP, "database": database}) for database in ("postgresql", {"engine": "postgresql"})
    )
    assert short == long and short["connections"] == ["DATABASE_URL"]
    assert apps.complete(short | {"state": "present"})["database"] == short["database"]


def test_an_app_without_a_database_keeps_its_release() -> None:
    """The fingerprint of the same app before the key was there."""
    assert "database" not in apps.chosen_of_release(APP) and "connections" not in apps.chosen_of_release(APP)
    completed = apps.complete(APP)
    assert fingerprint(completed, {}, {}, 4096) != fingerprint(
        apps.complete({**APP, "database": "postgresql"}), {}, {}, 4096
    )
