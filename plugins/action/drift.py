"""Controller side of `emperor.stack.drift`: read the questions in the tasks of roles, and ask all of them at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.template import Templar

from ..module_utils.release.spec import ReleaseSpec
from ..plugin_utils.controller.bundle import bundle_root
from ..plugin_utils.controller.native import to_native
from ..plugin_utils.file_set.digests import without_contents
from ..plugin_utils.file_set.render import Renderer
from ..plugin_utils.release.specs import Specs
from ..plugin_utils.schema.apps import complete_all
from .certificates import completed

#: The roles of the collection that this file belongs to.
ROLES = Path(__file__).resolve().parents[2] / "roles"

#: Modules that `host_drift` can query, each with the arguments that describe the wanted state.
QUERIES: Mapping[str, tuple[str, ...]] = {
    "file_set": ("name", "files", "prune", "tree", "running", "present", "units", "service"),
    "app_accounts": ("apps", "leaving", "memory", "process_memory"),
    "certificates": ("apps", "settings", "dns_environment", "root"),
    "release": ("apps", "secrets", "root", "listen", "force", "http_port"),
}


class ActionModule(ActionBase):
    _requires_connection = True
    _supports_check_mode = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "of": {
                    "type": "list",
                    "elements": "dict",
                    "required": True,
                    "options": {
                        "role": {"type": "str", "required": True},
                        "tasks": {"type": "str", "required": True},
                        "wanted": {"type": "bool", "default": True},
                    },
                }
            }
        )
        questions: list[dict[str, Any]] = []
        differs: dict[str, list[str]] = {}
        for one in arguments["of"]:
            if not one["wanted"]:
                continue
            try:
                questions += self._questions(one["role"], one["tasks"], variables)
            except Exception as error:
                # Whatever it is: the role itself runs into it, and says what is wrong in its own words.
                differs[f"{one['role']}/{one['tasks']}"] = [f"{type(error).__name__}: {error}"]
        # The module's arguments hold keys and whole files, and Ansible would write them to the host's journal.
        quiet = {**variables, "ansible_no_target_syslog": True}
        result: dict[str, Any] = self._execute_module(
            "emperor.stack.host_drift", module_args={"questions": questions}, task_vars=quiet
        )
        # Whole files went in, and secrets.
        result.pop("invocation", None)
        if "differs" in result:
            result["differs"] |= differs
        return result

    def _questions(self, role: str, tasks: str, variables: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """What the tasks in file *tasks* of *role* would send to the host."""
        place = ROLES / role
        within = {
            **self._load(place / "defaults/main.yml", {}),
            **variables,
            **self._load(place / "vars/main.yml", {}),
            "role_path": str(place),
            "ansible_search_path": [str(place), *variables.get("ansible_search_path", [])],
        }
        templar = self._templar.copy_with_new_env(available_variables=within)
        renderer = Renderer(templar, self._loader, lambda name: found(place, "templates", name), within)
        for module, wanted in asked(self._load(place / f"tasks/{tasks}.yml", [])):
            arguments = dict(templar.template({key: wanted[key] for key in QUERIES[module] if key in wanted}))
            if module == "file_set":
                files = renderer.render(arguments["files"])
                # The last working files of a service are compared by their contents.
                arguments["files"] = files if arguments.get("service") else without_contents(files)
            elif module == "release":
                arguments = {
                    "force": arguments["force"],
                    "http_port": arguments["http_port"],
                    "apps": self._planned(arguments, templar, within, place),
                }
            elif module == "certificates":
                credentials = arguments.pop("dns_environment", None) or {}
                root = Path(arguments.pop("root", None) or bundle_root(variables["playbook_dir"]))
                arguments["apps"] = completed(arguments["apps"], credentials, root, self._loader)
            yield {"tasks": f"{role}/{tasks}", "module": module, "arguments": to_native(arguments)}

    def _planned(
        self, arguments: Mapping[str, Any], templar: Templar, variables: Mapping[str, Any], role: Path
    ) -> list[ReleaseSpec]:
        """The apps as the phase `plan` of module `release` takes them."""
        root = Path(arguments.get("root") or bundle_root(variables["playbook_dir"]))
        apps = complete_all(to_native(arguments["apps"]))
        specs = Specs(
            templar,
            self._loader,
            lambda kind, name: found(role, kind, name),
            variables,
            root,
            arguments["listen"],
        )
        return specs.make(apps, arguments.get("secrets") or {}, whole=False)

    def _load(self, path: Path, otherwise: Any) -> Any:
        """What stands in the role's file at *path*; *otherwise* where there is none or nothing in it."""
        if not path.is_file():
            return otherwise
        return self._loader.load_from_file(str(path), trusted_as_template=True) or otherwise


def asked(tasks: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Those of *tasks* that can be asked: name of the module without that of its collection, and arguments as written."""
    for task in tasks:
        if "block" in task:
            raise AnsibleActionFail(f"drift: {task.get('name')}: tasks in a block are not supported")
        for module in QUERIES:
            if f"emperor.stack.{module}" in task:
                if "loop" in task:
                    raise AnsibleActionFail(f"drift: {task['name']}: a task with a loop is not supported")
                yield module, task[f"emperor.stack.{module}"]


def found(role: Path, kind: str, name: str) -> str:
    """The path of file *name* in the directory *kind* of *role*. Raises AnsibleActionFail where there is none."""
    path = role / kind / name
    if not path.is_file():
        raise AnsibleActionFail(f"there is no {path}")
    return str(path)
