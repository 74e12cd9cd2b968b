"""Controller side of `emperor.stack.release`: make each app's material, send it once, deal with the locks of dead runs."""

from __future__ import annotations

import base64
import getpass
import multiprocessing
import os
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils.apps import complete_all
from ..plugin_utils.bundle import bundle_root
from ..plugin_utils.plain import plain
from ..plugin_utils.release_specs import Specs, code_directory, pack, source_files

#: Bytes of archives that go within the arguments of one call; a source of several times as much is not even tried.
WITHIN = 4 << 20


def process_token(pid: int) -> str:
    """A name for a process on this machine that no later one will have."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")
        return f"{boot}/{space}/{pid}/{_stat(pid)[19]}"
    except OSError:
        return f"{socket.gethostname()}//{pid}/"


def _stat(pid: int) -> list[str]:
    """The fields of a process after its name: state first, start time the twentieth. Readable for every user."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def playbook_process() -> int:
    """The process id of ansible-playbook, which this worker was forked from.

    Not `os.getppid()`: when ansible-playbook was killed, that is whoever adopted the worker, and a lock in the name of init
    would look alive for ever. Raises AnsibleActionFail when ansible-playbook has ended: its orphan must not go on.
    """
    parent = multiprocessing.parent_process()
    pid = parent.pid if parent is not None and parent.pid is not None else os.getppid()
    if os.path.isdir("/proc/self") and not os.path.isdir(f"/proc/{pid}"):
        raise AnsibleActionFail(
            "the ansible-playbook process that this task belongs to has ended; nothing was done"
        )
    return pid


def is_dead(token: str) -> bool:
    """Whether *token* names a process of this machine that has ended. False when that cannot be known from here."""
    place, _, process = token.rpartition("/")[0].rpartition("/")
    here = process_token(os.getpid()).rsplit("/", 2)[0]
    if not place or place != here or here.endswith("/") or not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        # Another user's: it exists.
        pass
    try:
        fields = _stat(int(process))
    except OSError:
        return False
    return fields[0] in "ZX" or fields[19] != token.rpartition("/")[2]


class ActionModule(ActionBase):
    _supports_check_mode = True

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
        # What the host needs to know for all that it is to do now.
        needed = "prepare" if "prepare" in (args.get("then") or []) else phase
        # The module's arguments hold secrets, and Ansible would write them to the host's journal.
        quiet = {**(task_vars or {}), "ansible_no_target_syslog": True}
        listen = args.pop("listen", 4096)
        maker = None
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
            result = self._execute_module("emperor.stack.release", module_args=arguments, task_vars=quiet)
            # Once where an earlier version made releases, and once where a run died.
            for _ in range(2):
                dead = self._dead_holders(result)
                again = unanswered(result, specs, dead)
                for spec in again:
                    name = spec["name"]
                    if maker is not None and result["apps"][name].get("action") == "compare":
                        spec["former"] = maker.former(declared[name], secrets.get(name) or {})
                if again:
                    second = self._execute_module(
                        "emperor.stack.release",
                        module_args={**arguments, "apps": again, "dead": dead},
                        task_vars=quiet,
                    )
                    result = _merged(result, second)
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        result.pop("invocation", None)
        return dict(result)

    @staticmethod
    def _dead_holders(result: Mapping[str, Any]) -> list[str]:
        holders = [one.get("locked", {}).get("token") for one in result.get("apps", {}).values()]
        return [token for token in holders if isinstance(token, str) and is_dead(token)]

    def _send_sources(
        self, specs: list[dict[str, Any]], apps: list[dict[str, Any]], root: Path, as_files: bool
    ) -> None:
        """Hand directories and archives of the controller over, for the module to unpack.

        Small ones go within the arguments, which costs no exchange; the others, with *as_files*, as files on the host.
        """
        left = WITHIN
        for spec, app in zip(specs, apps, strict=True):
            source = app["source"]
            if not comes_from_here(source) or app.get("action") == "finish":
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


def sent(spec: Mapping[str, Any]) -> bool:
    return not comes_from_here(spec["source"]) or "archive" in spec or "archive_content" in spec


def size_of(source: Mapping[str, Any], root: Path) -> int:
    """Bytes of the source as it lies there."""
    if source.get("archive"):
        return (root / source["archive"]).stat().st_size
    return sum(path.lstat().st_size for path in source_files(code_directory(source, root)))


def unanswered(
    result: Mapping[str, Any], specs: list[dict[str, Any]], dead: list[str]
) -> list[dict[str, Any]]:
    """Those of *specs* of which the host has to know more: what an app was in an earlier format, that a run is *dead*."""
    found = result.get("apps", {})
    return [
        spec
        for spec in specs
        if (found.get(spec["name"], {}).get("action") == "compare" and "former" not in spec)
        or found.get(spec["name"], {}).get("locked", {}).get("token") in dead
    ]


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a call and of its repetition for some of the apps."""
    apps = {**first.get("apps", {}), **second.get("apps", {})}
    errors = [name for name, one in apps.items() if one.get("error")]
    result = {
        **second,
        "apps": apps,
        "changed": bool(first.get("changed") or second.get("changed")),
        "failed": bool(errors) or (bool(second.get("failed")) and "apps" not in second),
    }
    if errors:
        result["msg"] = f"{', '.join(errors)} failed"
    elif not result["failed"]:
        result.pop("msg", None)
    return result
