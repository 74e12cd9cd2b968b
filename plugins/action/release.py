"""Controller side of `emperor.stack.release`: make each app's material, send it once, deal with the locks of dead runs."""

from __future__ import annotations

import base64
import getpass
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail

from ..module_utils.release import uv_settings
from ..module_utils.release.spec import ReleaseSpec
from ..plugin_utils.controller.bundle import bundle_root
from ..plugin_utils.controller.lock_holders import ActionWithLocks, playbook_process, process_token
from ..plugin_utils.controller.plain import plain
from ..plugin_utils.release.specs import Specs, code_directory, pack, source_files
from ..plugin_utils.schema.apps import complete_all

#: Bytes of archives that go within the arguments of one call; a source of several times as much is not even tried.
WITHIN = 4 << 20


class ActionModule(ActionWithLocks):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        args = dict(self._task.args)
        phase = args["phase"]
        # Without Ansible's lazy containers, by which a look at every value of a hundred apps takes seconds.
        apps: list[dict[str, Any]] = plain(args.pop("apps"))
        declared = {app["name"]: app for app in apps}
        if phase == "plan":
            apps = complete_all(apps)
        secrets = args.pop("secrets", None) or {}
        root = Path(args.pop("root", None) or bundle_root((task_vars or {})["playbook_dir"]))
        if not apps:
            return {
                "changed": False,
                "apps": {},
                "skipped": True,
                "skipped_reason": "no app is in this phase",
            }
        if wrong := uv_settings.complaints(args.get("uv_environment") or {}):
            listed = "\n".join(f"python_apps_uv_environment.{one}." for one in wrong)
            raise AnsibleActionFail(f"{listed}\nNo host was asked or changed.")
        # What the host needs to know for all that it is to do now.
        needed = "prepare" if "prepare" in (args.get("then") or []) else phase
        # The module's arguments hold secrets, and Ansible would write them to the host's journal.
        quiet = {**(task_vars or {}), "ansible_no_target_syslog": True}
        listen = args.pop("listen", 4096)
        maker = None
        specs: list[ReleaseSpec]
        if needed in ("plan", "prepare"):
            maker = Specs(self._templar, self._loader, self._find_needle, task_vars or {}, root, listen)
            specs = maker.make(apps, secrets, whole=needed == "prepare")
        else:
            specs = [{"name": app["name"]} for app in apps]
        try:
            if needed == "prepare" and not self._task.check_mode:
                self._send_sources(specs, apps, root, as_files=phase == "prepare")
                if not all(sent(spec) for spec in specs):
                    # Too large to be sent on the chance that it is wanted: the plan comes first, by itself.
                    args["then"] = []
            # One owner for all phases of a run.
            owner = {
                "token": process_token(playbook_process()),
                "who": f"{getpass.getuser()}@{socket.gethostname()}",
                "controller": socket.gethostname(),
            }
            arguments = {**args, "apps": specs, "owner": owner}

            def formers(found: Mapping[str, Any]) -> list[str]:
                """Tell what apps were in an earlier format, where the host has such releases."""
                if maker is None:
                    return []
                told = unanswered(found, specs)
                for spec in told:
                    spec["former"] = maker.former(declared[spec["name"]], secrets.get(spec["name"]) or {})
                return [spec["name"] for spec in told]

            result = self.execute("emperor.stack.release", arguments, quiet, formers)
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        result.pop("invocation", None)
        return dict(result)

    def _send_sources(
        self, specs: list[ReleaseSpec], apps: list[dict[str, Any]], root: Path, as_files: bool
    ) -> None:
        """Hand directories and archives of the controller over, for the module to unpack.

        Small ones go within the arguments, which costs no exchange; the others, with *as_files*, as files on the host.
        """
        left = WITHIN
        for spec, app in zip(specs, apps, strict=True):
            source = app["source"]
            if not comes_from_here(source) or app.get("action") == "finish" or "refused" in spec:
                continue
            if not as_files and size_of(source, root) > 4 * WITHIN:
                continue
            with tempfile.TemporaryDirectory() as directory:
                local = root / (source.get("archive") or "")
                if not source.get("archive"):
                    local = Path(directory) / "source.tar.gz"
                    pack(code_directory(source, root), local)
                size = local.stat().st_size
                if size <= left:
                    left -= size
                    spec["archive_content"] = base64.b64encode(local.read_bytes()).decode()
                elif as_files:
                    spec["archive"] = self._send_file(local, f"{app['name']}.source")

    def _send_file(self, local: Path, name: str) -> str:
        if self._connection._shell.tmpdir is None:
            self._make_tmp_path()
        remote = str(self._connection._shell.join_path(self._connection._shell.tmpdir, name))
        self._transfer_file(str(local), remote)
        return remote


def comes_from_here(source: Mapping[str, Any]) -> bool:
    """Whether the controller has the source, and the host does not fetch it."""
    return bool(source.get("path")) or bool(source.get("archive") and "://" not in source["archive"])


def sent(spec: ReleaseSpec) -> bool:
    here = comes_from_here(spec["source"]) and "refused" not in spec
    return not here or "archive" in spec or "archive_content" in spec


def size_of(source: Mapping[str, Any], root: Path) -> int:
    """Bytes of the source as it lies there."""
    if source.get("archive"):
        return (root / source["archive"]).stat().st_size
    return sum(path.lstat().st_size for path in source_files(code_directory(source, root)))


def unanswered(result: Mapping[str, Any], specs: list[ReleaseSpec]) -> list[ReleaseSpec]:
    """Those of *specs* of which the host has to know more: what an app was in an earlier format."""
    found = result.get("apps", {})
    return [
        spec
        for spec in specs
        if found.get(spec["name"], {}).get("action") == "compare" and "former" not in spec
    ]
