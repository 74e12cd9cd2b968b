"""Put an entry into a YAML file of an inventory and leave every other line of the file as it is."""

from __future__ import annotations

import textwrap
from typing import Any

import yaml

from ..console import Stop


def into_list(text: str, key: str, entry: str) -> str:
    """*text* with *entry*, an item of a block list without indentation, at the end of the list *key* at the top level."""
    return _insert(text, key, entry, yaml.SequenceNode)


def into_map(text: str, key: str, entry: str) -> str:
    """*text* with *entry*, lines of a block map without indentation, at the end of the map *key* at the top level."""
    return _insert(text, key, entry, yaml.MappingNode)


def names_in_list(text: str, key: str) -> list[str]:
    """The `name` of each item of the list *key* at the top level of *text*."""
    items = [item for item in _below(text, key) if isinstance(item, yaml.MappingNode)]
    return [value.value for item in items for name, value in item.value if name.value == "name"]


def keys_of_map(text: str, key: str) -> list[str]:
    """The keys of the map *key* at the top level of *text*."""
    return [name.value for name, _ in _below(text, key)]


def _below(text: str, key: str) -> list[Any]:
    root = _composed(text, key)
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    return next((value.value for name, value in pairs if name.value == key and value.value), [])


def _composed(text: str, key: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise Stop(
            f"the file with {key} is not valid YAML: {' '.join(str(error).split())}", "Correct it first."
        ) from None


def _insert(text: str, key: str, entry: str, kind: type[yaml.CollectionNode]) -> str:
    root = _composed(text, key)
    if root is not None and not isinstance(root, yaml.MappingNode):
        raise Stop(f"the file with {key} is not a map of variables", f"Add the entry by hand:\n{entry}")
    pairs = root.value if root is not None else []
    value = next((value for name, value in pairs if name.value == key), None)
    if value is None:
        start = text.rstrip("\n") + "\n" if text.strip() else "---\n"
        return f"{start}{key}:\n{textwrap.indent(entry, '  ')}"
    if not value.value:
        # Nothing, [] or {}.
        before, after = text[: value.start_mark.index].rstrip(), text[value.end_mark.index :].lstrip(" ")
        return f"{before}\n{textwrap.indent(entry, '  ').rstrip()}{after if after.startswith(chr(10)) else f' {after}'}"
    if not isinstance(value, kind) or value.flow_style:
        raise Stop(f"{key} is not a list or map with one entry per line", f"Add the entry by hand:\n{entry}")
    lines = text.splitlines(keepends=True)
    at = value.end_mark.line if value.end_mark.index < len(text) else len(lines)
    while at and (not lines[at - 1].strip() or lines[at - 1].lstrip().startswith("#")):
        at -= 1
    if not lines[at - 1].endswith("\n"):
        lines[at - 1] += "\n"
    return "".join([*lines[:at], textwrap.indent(entry, " " * value.start_mark.column), *lines[at:]])
