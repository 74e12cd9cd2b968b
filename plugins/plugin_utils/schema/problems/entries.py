"""The entries of `python_apps`, as far as they are well-formed: what is not has a problem of its own already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ....module_utils.values import names as app_names
from ....module_utils.values import texts
from ..apps import is_present
from ..fields.app import ABSENT, APP
from ..kinds import Section
from .found import APPS


def entries(apps: Any, everything: bool = False) -> Iterator[tuple[str, Any]]:
    """Each app with its place; only those that are maps, unless *everything* is asked for."""
    if not isinstance(apps, list | tuple):
        return
    for index, app in enumerate(apps):
        if everything or isinstance(app, Mapping):
            label = name_of(app)
            yield f"{APPS}[{index}]" + (f" ({label})" if label else ""), app


def present(apps: Any) -> Iterator[tuple[str, Any]]:
    """Each app that is to be there, with its place."""
    return ((where, app) for where, app in entries(apps) if is_present(app))


def name_of(app: Any) -> str:
    """The name of an app, when it is one."""
    name = app.get("name") if isinstance(app, Mapping) else None
    return name if isinstance(name, str) and not app_names.name(name) else ""


def good_text(value: Any, check: texts.Rule) -> str | None:
    return value if isinstance(value, str) and not check(value) else None


def good_items(value: Any, check: texts.Rule) -> Iterator[tuple[int, str]]:
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            if good_text(item, check) is not None:
                yield index, item


def good_pairs(value: Any, key: texts.Rule, item: texts.Rule) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    return {
        name: path
        for name, path in value.items()
        if good_text(name, key) is not None and good_text(path, item) is not None
    }


def schema_of(app: Any) -> Section:
    return APP if not isinstance(app, Mapping) or is_present(app) else ABSENT
