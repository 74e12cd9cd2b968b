"""What the names of databases and of their extensions may be."""

from __future__ import annotations

import re

from ....module_utils.values.texts import Wrong, words

#: PostgreSQL's own databases, and words that its access rules read as something else.
RESERVED = words("postgres template0 template1 all sameuser samerole samegroup replication")

#: Names that no role can have.
RESERVED_ROLES = words("public none")

#: After it, the role that owns a database. No app has an underscore in its name.
OWNER = "_owner"


def name(text: str) -> Wrong | None:
    if text in RESERVED or text.startswith("pg_") or text.endswith(OWNER):
        return Wrong(
            "PostgreSQL or Emperor Stack uses this name for something else", f"{text.strip('_')}-data"
        )
    if re.fullmatch(r"[a-z][a-z0-9_-]{0,47}", text):
        return None
    guess = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-0123456789")[:48]
    return Wrong(
        "the name of a database starts with a lowercase letter, then has lowercase letters, digits, - and _, at most 48 "
        "characters in all",
        guess if guess and name(guess) is None else "",
    )


def extension(text: str) -> Wrong | None:
    if re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", text):
        return None
    return Wrong("the name of an extension has lowercase letters, digits, - and _", "")
