"""Roles and databases of PostgreSQL: what is there, what apps want, and the statements between the two.

An app's role has the app's name. A database belongs to a role `<database>_owner`, in which the apps are that use the
database; a session of an app acts as this role, so that apps with one database own its tables together. No app has an
underscore in its name, so no app's role is an owner.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

OWNER = "_owner"

#: One row of JSON: all that `statements` has to know.
STATE = """
select json_build_object(
  'digest', current_setting('emperor_stack.digest', true),
  'restart', (select coalesce(json_agg(name order by name), '[]') from pg_settings where pending_restart),
  'checksums', current_setting('data_checksums'),
  'roles', (select json_object_agg(rolname, json_build_object(
      'login', rolcanlogin, 'limit', rolconnlimit, 'password', rolpassword,
      'strong', rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls or not rolinherit))
    from pg_authid where rolname !~ '^pg_'),
  'members', (select coalesce(json_agg(json_build_array(r.rolname, m.rolname)), '[]')
    from pg_auth_members a join pg_authid r on r.oid = a.roleid join pg_authid m on m.oid = a.member
    where right(r.rolname, 6) = '_owner'),
  'databases', (select json_object_agg(datname, json_build_object('owner', pg_get_userbyid(datdba),
      'public', has_database_privilege('public', oid, 'connect') or has_database_privilege('public', oid, 'temp')))
    from pg_database where datname <> 'template0'),
  'acting', (select coalesce(json_agg(json_build_array(d.datname, r.rolname, s.setconfig)), '[]')
    from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase join pg_authid r on r.oid = s.setrole))
"""

#: The number of rows in all tables of a database. The count of each is asked for by name, in one answer.
ROWS = """
select coalesce(sum((xpath('/row/rows/text()', query_to_xml(
    format('select count(*) as rows from only %I.%I', nspname, relname), false, true, '')))[1]::text::bigint), 0)
from pg_class join pg_namespace on pg_namespace.oid = relnamespace
where relkind = 'r' and nspname not in ('pg_catalog', 'information_schema')
"""

#: Databases of PostgreSQL's own that every role may connect to otherwise.
COMMON = ("postgres", "template1")

State = Mapping[str, Any]
App = Mapping[str, Any]


class Foreign(Exception):
    """A database or a role of a wanted name belongs to somebody else."""


def name(text: str) -> str:
    """*text* as an identifier."""
    return '"' + text.replace('"', '""') + '"'


def text(value: str) -> str:
    """*value* as a literal: standard_conforming_strings is on, so that a backslash means nothing."""
    return "'" + value.replace("'", "''") + "'"


def statements(state: State, apps: Sequence[App]) -> list[str]:
    """What makes of *state* what *apps* want; empty where nothing differs. Raises Foreign."""
    found: list[str] = []
    for database in sorted({app["database"] for app in apps}):
        found += _database(state, database)
    for app in apps:
        found += _app(state, app)
    for common in COMMON:
        if state["databases"].get(common, {}).get("public"):
            found.append(_closed(common))
    return found


def _database(state: State, database: str) -> Iterator[str]:
    owner = f"{database}{OWNER}"
    if owner not in state["roles"]:
        yield f"create role {name(owner)} nologin"
    there = state["databases"].get(database)
    if there is None:
        # Of template0, whose encoding need not be what the host's locale was when the package was installed.
        yield (
            f"create database {name(database)} owner {name(owner)} template template0 encoding 'UTF8' locale 'C.UTF-8'"
        )
    elif there["owner"] != owner:
        raise Foreign(
            f"database {database} is there already and belongs to {there['owner']}, so Emperor Stack did not create it. "
            f"Choose another name (database: {{name: …}}), or hand it over: docs/databases.md"
        )
    if there is None or there["public"]:
        yield _closed(database)


def _closed(database: str) -> str:
    return f"revoke connect, temporary on database {name(database)} from public"


def _app(state: State, app: App) -> Iterator[str]:
    role, database = app["name"], app["database"]
    owner, password = f"{database}{OWNER}", app["password"] or None
    there = state["roles"].get(role)
    if there and there["strong"] and not ours(state, role):
        raise Foreign(
            f"role {role} is there already, has rights that an app never has, and is not Emperor Stack's. Give the app "
            f"another name, or hand the role over: grant {name(owner)} to {name(role)}"
        )
    wanted = {"login": True, "limit": app["connections"], "password": password, "strong": False}
    if there != wanted:
        yield (
            f"{'alter' if there else 'create'} role {name(role)} login nosuperuser nocreaterole nocreatedb noreplication "
            f"nobypassrls inherit connection limit {int(app['connections'])} "
            f"password {text(password) if password else 'null'}"
        )
    memberships = {group for group, member in state["members"] if member == role}
    for other in sorted(memberships - {owner}):
        yield f"revoke {name(other)} from {name(role)}"
    if owner not in memberships:
        yield f"grant {name(owner)} to {name(role)}"
    if [database, role, [f"role={owner}"]] not in state["acting"]:
        yield f"alter role {name(role)} in database {name(database)} set role to {text(owner)}"


def extensions(apps: Sequence[App]) -> dict[str, list[str]]:
    """By database, the extensions that its apps want together."""
    found: dict[str, set[str]] = {}
    for app in apps:
        found.setdefault(app["database"], set()).update(app["extensions"])
    return {database: sorted(wanted) for database, wanted in sorted(found.items()) if wanted}


def ours(state: State, role: str) -> bool:
    """Whether *role* is an app's: then it uses a database of ours."""
    return any(member == role for _, member in state["members"])


def only_of(state: State, role: str) -> list[str]:
    """Databases that no app but *role* uses; a removal that was interrupted may have dropped one already."""
    members: dict[str, set[str]] = {}
    for group, member in state["members"]:
        members.setdefault(group, set()).add(member)
    return sorted(group.removesuffix(OWNER) for group, those in members.items() if those == {role})


def owned(state: State, database: str) -> list[str]:
    """*database*, where it is there, and what restores of it have kept aside."""
    owner = f"{database}{OWNER}"
    return sorted(name for name, there in state["databases"].items() if there["owner"] == owner)


def shared_with(state: State, role: str) -> list[str]:
    """Databases that *role* uses together with other apps."""
    own = only_of(state, role)
    groups = [group.removesuffix(OWNER) for group, member in state["members"] if member == role]
    return sorted(set(groups) - set(own))
