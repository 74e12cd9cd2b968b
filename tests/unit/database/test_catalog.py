"""What makes of the roles and databases that are there those that apps want."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.database import catalog

ROLE = {"login": True, "limit": 13, "password": None, "strong": False}
OWNER = {"login": False, "limit": -1, "password": None, "strong": False}


def state(**changes: Any) -> dict[str, Any]:
    """A server that has what app `blog` wants."""
    return {
        "roles": {"postgres": {**ROLE, "strong": True}, "blog": ROLE, "blog_owner": OWNER},
        "members": [["blog_owner", "blog"]],
        "databases": {
            "postgres": {"owner": "postgres", "public": False},
            "template1": {"owner": "postgres", "public": False},
            "blog": {"owner": "blog_owner", "public": False},
        },
        "acting": [["blog", "blog", ["role=blog_owner"]]],
        **changes,
    }


def app(name: str = "blog", database: str = "", **keys: Any) -> dict[str, Any]:
    return {
        "name": name,
        "database": database or name,
        "connections": 13,
        "password": "",
        "extensions": [],
        **keys,
    }


def test_a_server_with_all_of_it_is_left_alone() -> None:
    assert catalog.statements(state(), [app()]) == []


def test_a_fresh_server_gets_all_of_it_and_names_are_quoted() -> None:
    fresh = state(
        roles={"postgres": {**ROLE, "strong": True}},
        members=[],
        databases={name: {"owner": "postgres", "public": True} for name in ("postgres", "template1")},
        acting=[],
    )
    assert catalog.statements(fresh, [app("my-app")]) == [
        'create role "my-app_owner" nologin',
        "create database \"my-app\" owner \"my-app_owner\" template template0 encoding 'UTF8' locale 'C.UTF-8'",
        'revoke connect, temporary on database "my-app" from public',
        'create role "my-app" login nosuperuser nocreaterole nocreatedb noreplication nobypassrls inherit connection limit '
        "13 password null",
        'grant "my-app_owner" to "my-app"',
        'alter role "my-app" in database "my-app" set role to \'my-app_owner\'',
        'revoke connect, temporary on database "postgres" from public',
        'revoke connect, temporary on database "template1" from public',
    ]


@pytest.mark.parametrize(
    ("changes", "keys", "statement"),
    [
        (
            {"roles": {"blog_owner": OWNER, "blog": {**ROLE, "strong": True}}},
            {},
            'alter role "blog" login nosuperuser',
        ),
        ({}, {"password": "SCRAM-SHA-256$x"}, "password 'SCRAM-SHA-256$x'"),
        ({}, {"connections": 20}, "connection limit 20"),
        (
            {"databases": {"blog": {"owner": "blog_owner", "public": True}}},
            {},
            'revoke connect, temporary on database "blog"',
        ),
        (
            {"members": [["blog_owner", "blog"], ["shop_owner", "blog"]]},
            {},
            'revoke "shop_owner" from "blog"',
        ),
        ({"acting": []}, {}, "set role to 'blog_owner'"),
    ],
)
def test_what_differs_is_put_right(changes: dict[str, Any], keys: dict[str, Any], statement: str) -> None:
    (found,) = catalog.statements(state(**changes), [app(**keys)])
    assert statement in found


def test_two_apps_share_a_database_by_its_owner() -> None:
    found = catalog.statements(state(), [app(), app("worker", "blog")])
    assert found[1:] == [
        'grant "blog_owner" to "worker"',
        'alter role "worker" in database "blog" set role to \'blog_owner\'',
    ]


def test_a_database_of_somebody_else_is_refused() -> None:
    theirs = {"blog": {"owner": "ann", "public": False}}
    with pytest.raises(catalog.Foreign, match="belongs to ann"):
        catalog.statements(state(databases=theirs), [app()])


def test_an_administrator_with_the_name_of_an_app_keeps_his_rights() -> None:
    theirs = {"blog": {**ROLE, "strong": True}}
    with pytest.raises(catalog.Foreign, match="role blog is there already"):
        catalog.statements(state(roles=theirs, members=[]), [app()])


def test_quotes_end_nothing() -> None:
    assert catalog.name('a"b') == '"a""b"' and catalog.text("a'b") == "'a''b'"


def test_extensions_are_those_of_all_apps_of_a_database() -> None:
    apps = [app(extensions=["pg_trgm"]), app("worker", "blog", extensions=["unaccent"]), app("shop")]
    assert catalog.extensions(apps) == {"blog": ["pg_trgm", "unaccent"]}


def test_a_shared_database_does_not_go_with_one_app() -> None:
    both = state(members=[["blog_owner", "blog"], ["blog_owner", "worker"]])
    assert catalog.only_of(state(), "blog") == ["blog"]
    assert catalog.only_of(both, "blog") == [] and catalog.shared_with(both, "blog") == ["blog"]
