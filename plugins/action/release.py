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
from ..plugin_utils.release_specs import Specs, code_directory, pack

#: Bytes of an archive that goes within the arguments of the module.
SMALL = 1 << 20


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
        if needed in ("plan", "prepare"):
            maker = Specs(self._templar, self._loader, self._find_needle, task_vars or {}, root, listen)
            specs = maker.make(apps, secrets, whole=needed == "prepare")
        else:
            specs = [{"name": app["name"]} for app in apps]
        try:
            if needed == "prepare" and not self._task.check_mode:
                for spec, app in zip(specs, apps, strict=True):
                    self._send_source(spec, app, root)
            # One owner for all phases of a run.
            owner = {
                "token": process_token(playbook_process()),
                "who": f"{getpass.getuser()}@{socket.gethostname()}",
                "controller": socket.gethostname(),
            }
            arguments = {**args, "apps": specs, "owner": owner}
            result = self._execute_module("emperor.stack.release", module_args=arguments, task_vars=quiet)
            dead = self._dead_holders(result)
            if dead:
                again = [spec for spec in specs if (result["apps"][spec["name"]].get("locked"))]
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

    def _send_source(self, spec: dict[str, Any], app: dict[str, Any], root: Path) -> None:
        """Hand a directory or an archive of the controller over, for the module to unpack: a small one within the arguments,
        which costs no exchange, a large one as a file on the host."""
        source = app["source"]
        local_archive = source.get("archive") and "://" not in source["archive"]
        if not (source.get("path") or local_archive) or app.get("action") == "finish":
            return
        with tempfile.TemporaryDirectory() as directory:
            if local_archive:
                local = root / source["archive"]
            else:
                local = Path(directory) / "source.tar.gz"
                pack(code_directory(source, root), local)
            if local.stat().st_size <= SMALL:
                spec["archive_content"] = base64.b64encode(local.read_bytes()).decode()
                return
            if self._connection._shell.tmpdir is None:
                self._make_tmp_path()
            remote = self._connection._shell.join_path(
                self._connection._shell.tmpdir, f"{app['name']}.source"
            )
            self._transfer_file(str(local), remote)
        spec["archive"] = remote


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
