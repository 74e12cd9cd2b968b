"""The files of a file set, rendered on the controller as the module takes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ...module_utils.file_set import items as logic
from ..controller.native import to_native
from ..controller.rendering import render_each


class Renderer:
    """Renders items over *variables*; *find* gives the path of a template, and raises AnsibleError where there is none."""

    def __init__(
        self,
        templar: Templar,
        loader: DataLoader,
        find: Callable[[str], str],
        variables: Mapping[str, Any],
    ) -> None:
        self._templar, self._loader, self._find = templar, loader, find
        self._variables = variables

    def render(self, files: Any) -> list[dict[str, Any]]:
        """Raises AnsibleActionFail where *files* is not what a file set takes, or a template fails."""
        if not isinstance(files, list):
            raise AnsibleActionFail("file_set: files must be a list of items, each with a path")
        found: list[dict[str, Any]] = []
        for item, rows in expanded(files):
            found += directory_items(item) if "source" in item else self._rendered(item, rows)
        return found

    def _rendered(self, item: Mapping[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The item as the module takes it, once for each of *rows*; the module refuses what it does not know."""
        common = {key: value for key, value in item.items() if key not in logic.OF_THE_CONTROLLER}
        found = [dict(common) for _ in rows]
        if "each" in item:
            try:
                for known, values in zip(found, rows, strict=True):
                    known |= {
                        key: logic.expand(str(item[key]), values) for key in ("path", "part") if key in item
                    }
            except logic.FileSetError as error:
                raise AnsibleActionFail(f"file_set: {error}") from error
        if "template" in item:
            if "content" in item:
                raise AnsibleActionFail(f"file_set: {item.get('path')}: give template or content, not both")
            texts = self._texts(str(item["template"]), rows) if rows else []
            for known, text in zip(found, texts, strict=True):
                known["content"] = text
        return found

    def _texts(self, name: str, rows: list[dict[str, Any]]) -> list[str]:
        try:
            source = self._find(name)
        except AnsibleError as error:
            raise AnsibleActionFail(f"file_set: template {name} was not found: {error}") from error
        text = self._loader.get_text_file_contents(source)
        paths = [
            *self._variables.get("ansible_search_path", []),
            self._loader.get_basedir(),
            os.path.dirname(source),
        ]
        search = [found for path in paths for found in (os.path.join(path, "templates"), path)]
        try:
            return render_each(
                self._templar,
                text,
                rows,
                self._variables,
                search,
                escape_backslashes=False,
                overrides={"trim_blocks": True, "lstrip_blocks": True},
            )
        except AnsibleError as error:
            raise AnsibleActionFail(f"file_set: template {name}: {error}") from error


def directory_items(item: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The files of a directory of the controller that match the item's pattern, at every depth, with their directories."""
    top, path, pattern = Path(str(item["source"])), str(item["path"]), str(item.get("pattern", "*"))
    if other := item.keys() & {"template", "content", "link", "directory", "touch", "each"}:
        raise AnsibleActionFail(f"file_set: {path}: give source or {sorted(other)[0]}, not both")
    files = [
        each
        for each in sorted(top.rglob(pattern))
        if each.is_file() and not any(part.startswith(".") for part in each.relative_to(top).parts)
    ]
    if not files:
        raise AnsibleActionFail(f"file_set: {path}: there is no file {pattern} below {top}")
    known = {key: value for key, value in item.items() if key not in logic.OF_THE_CONTROLLER}
    for directory in sorted({parent for each in files for parent in each.relative_to(top).parents}):
        below = f"{path}/{directory}".removesuffix("/.")
        yield {
            **{key: value for key, value in known.items() if key != "mode"},
            "path": below,
            "directory": True,
        }
    for each in files:
        yield {
            **known,
            "path": f"{path}/{each.relative_to(top)}",
            "content": each.read_text(encoding="utf-8"),
        }


def expanded(files: list[Any]) -> Iterator[tuple[Mapping[str, Any], list[dict[str, Any]]]]:
    """Each item with the variables of its own, once for each element of its `each`."""
    for item in files:
        if not isinstance(item, Mapping) or not item.get("path"):
            raise AnsibleActionFail(
                f"file_set: every item of files is a mapping with a path (found {item!r:.80})"
            )
        own = item.get("vars") or {}
        if not isinstance(own, Mapping):
            raise AnsibleActionFail(f"file_set: {item['path']}: vars must be a mapping")
        if "each" not in item:
            yield item, [to_native(own)]
            continue
        elements = item["each"]
        if not isinstance(elements, list):
            raise AnsibleActionFail(f"file_set: {item['path']}: each must be a list")
        name = str(item.get("as", "item"))
        if not name.isidentifier():
            raise AnsibleActionFail(f"file_set: {item['path']}: as must be the name of a variable")
        yield item, [to_native({**own, name: element}) for element in elements]
