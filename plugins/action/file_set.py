"""Render the items of a file set on the controller, then hand the whole set to the module at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

from ..module_utils import file_set as logic

#: Keys of an item that are used up here.
CONTROLLER_KEYS = {"template", "vars", "each", "as"}
#: Everything else is the module's, which refuses what it does not know.


class ActionModule(ActionBase):
    _requires_connection = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        files = arguments.get("files")
        if not isinstance(files, list):
            raise AnsibleActionFail("file_set: files has to be a list of items, each with a path")
        arguments["files"] = [self._rendered(item, values, task_vars) for item, values in expanded(files)]
        result.update(
            self._execute_module(
                module_name="emperor.stack.file_set", module_args=arguments, task_vars=task_vars
            )
        )
        if "invocation" in result:
            result["invocation"] = {"module_args": printable(arguments)}
        return result

    def _rendered(
        self, item: Mapping[str, Any], values: Mapping[str, Any], task_vars: dict[str, Any]
    ) -> dict[str, Any]:
        """The item as the module takes it."""
        known = {key: value for key, value in item.items() if key not in CONTROLLER_KEYS}
        if "each" in item:
            try:
                known |= {
                    key: logic.expand(str(item[key]), values) for key in ("path", "part") if key in item
                }
            except logic.FileSetError as error:
                raise AnsibleActionFail(f"file_set: {error}") from error
        if "template" in item:
            if "content" in item:
                raise AnsibleActionFail(f"file_set: {item.get('path')}: give template or content, not both")
            known["content"] = self._render(str(item["template"]), {**task_vars, **values})
        return known

    def _render(self, name: str, variables: dict[str, Any]) -> str:
        try:
            source = self._find_needle("templates", name)
        except AnsibleError as error:
            raise AnsibleActionFail(f"file_set: template {name} was not found: {error}") from error
        text = trust_as_template(self._loader.get_text_file_contents(source))
        paths = [
            *variables.get("ansible_search_path", []),
            self._loader.get_basedir(),
            os.path.dirname(source),
        ]
        search = [found for path in paths for found in (os.path.join(path, "templates"), path)]
        templar = self._templar.copy_with_new_env(searchpath=search, available_variables=variables)
        try:
            rendered = templar.template(
                text, escape_backslashes=False, overrides={"trim_blocks": True, "lstrip_blocks": True}
            )
        except AnsibleError as error:
            raise AnsibleActionFail(f"file_set: template {name}: {error}") from error
        return "" if rendered is None else str(rendered)


def expanded(files: list[Any]) -> Iterator[tuple[Mapping[str, Any], dict[str, Any]]]:
    """Each item with the variables of its own; an item with `each` comes once for each element."""
    for item in files:
        if not isinstance(item, Mapping) or not item.get("path"):
            raise AnsibleActionFail(
                f"file_set: every item of files is a mapping with a path (found {item!r:.80})"
            )
        own = item.get("vars") or {}
        if not isinstance(own, Mapping):
            raise AnsibleActionFail(f"file_set: {item['path']}: vars has to be a mapping")
        if "each" not in item:
            yield item, dict(own)
            continue
        elements = item["each"]
        if not isinstance(elements, list):
            raise AnsibleActionFail(f"file_set: {item['path']}: each has to be a list")
        for element in elements:
            yield item, {**own, str(item.get("as", "item")): element}


def printable(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments for a look with -vvv: without contents, which are long and may be secret."""
    files = [
        {**item, "content": f"({len(item['content'])} characters)"} if "content" in item else item
        for item in arguments["files"]
    ]
    return {**arguments, "files": files}
