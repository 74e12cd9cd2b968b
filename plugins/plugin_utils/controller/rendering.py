"""Render one template for many things at once: most of what a template costs is to set it up, and not to fill it in."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.template import Templar, trust_as_template

#: What only the beginning of a whole template may say, or its outermost level.
_WHOLE = re.compile(r"\A#jinja2:|\{%[-+]?\s*(?:extends|block)\b")

#: The variable that holds the rows while they are rendered.
_ROWS = "__rendering_rows"


def render_each(
    templar: Templar,
    text: str,
    rows: Sequence[Mapping[str, Any]],
    variables: Mapping[str, Any],
    searchpath: Sequence[str] | None = None,
    **how: Any,
) -> list[str]:
    """What *text*, a template of the bundle, gives for each of *rows*, which all have the same variables.

    The result is the same to the byte as that of `Templar.template` with *how*, for one row after the other, over
    *variables*.
    """
    if len(rows) < 2 or not rows[0] or _WHOLE.search(text):
        return [_whole(templar, text, {**variables, **row}, searchpath, how) for row in rows]
    mark = uuid.uuid4().hex
    names = sorted(rows[0])
    body = text.removesuffix("\n")
    # The marks keep the first line a first line, and the last one what it is: Jinja trims around blocks.
    looped = f"{{% for {', '.join(names)} in {_ROWS} %}}{mark}\n{body}{mark}{{% endfor %}}"
    values = [[row[name] for name in names] if len(names) > 1 else row[names[0]] for row in rows]
    rendered = _whole(templar, looped, {**variables, _ROWS: values}, searchpath, how)
    newlines = len(text) - len(text.rstrip("\n"))
    parts = [part.removeprefix("\n") for part in rendered.split(mark)[1::2]]
    return [
        # Nothing and an empty text are different things to Ansible, and the same in here.
        _ended(part, newlines) if part else _whole(templar, text, {**variables, **row}, searchpath, how)
        for part, row in zip(parts, rows, strict=True)
    ]


def _ended(part: str, newlines: int) -> str:
    """*part* with as many newlines at its end as its template has, as Ansible adds them."""
    return part + "\n" * max(0, newlines - (len(part) - len(part.rstrip("\n"))))


def _whole(
    templar: Templar,
    text: str,
    variables: Mapping[str, Any],
    searchpath: Sequence[str] | None,
    how: Mapping[str, Any],
) -> str:
    own = templar.copy_with_new_env(searchpath=searchpath, available_variables=variables)
    rendered = own.template(trust_as_template(text), **how)
    return "" if rendered is None else str(rendered)
