"""Controller side of `emperor.stack.release`: make each app's material, send it once, deal with the locks of dead runs."""

from __future__ import annotations

import base64
import contextlib
import getpass
import socket
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, cast

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display

from ..module_utils.host import layout
from ..module_utils.host.processes import process_token
from ..module_utils.release import uv_settings
from ..module_utils.release.lock import Owner
from ..module_utils.release.phase import LEAD, Told
from ..module_utils.release.phases import PHASES, going_on, together
from ..module_utils.release.spec import ReleaseSpec
from ..module_utils.source.spec import Source
from ..plugin_utils.console import progress
from ..plugin_utils.controller import held_runs, second_command
from ..plugin_utils.controller.bundle import bundle_root
from ..plugin_utils.controller.lock_holders import ActionWithLocks, playbook_process
from ..plugin_utils.controller.native import to_native, unreadable
from ..plugin_utils.release.shared import Shared
from ..plugin_utils.release.specs import Specs, code_directory, pack, source_files
from ..plugin_utils.schema.apps import complete_all

display = Display()

#: Bytes of archives that go within the arguments of one call; a source of several times as much is not even tried.
WITHIN = 4 << 20


class ActionModule(ActionWithLocks):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        args = dict(self._task.args)
        names = [args["phase"], *(args.get("then") or [])]
        if unknown := [name for name in names if name not in PHASES]:
            raise AnsibleActionFail(f"there is no phase {unknown[0]}; there are {', '.join(PHASES)}")
        if wrong := uv_settings.complaints(args.get("uv_environment") or {}):
            listed = "\n".join(f"python_apps_uv_environment.{one}." for one in wrong)
            raise AnsibleActionFail(f"{listed}\nNo host was contacted or changed.")
        # Without Ansible's lazy containers, by which a look at every value of a hundred apps takes seconds.
        apps: list[dict[str, Any]] = to_native(args.pop("apps"))
        before: dict[str, Any] = to_native(args.pop("after", None) or {})
        host = str((task_vars or {}).get("inventory_hostname", ""))
        shared = Shared(host, to_native(args.pop("fleet", None) or {}))
        if names == ["call_off"] and shared.nothing_was_begun(before):
            return continued(before, shared.refused(before))
        before = shared.with_those_that_stay(before)
        try:
            result = self._exchange(args, names, apps, before, shared, task_vars or {})
        except AnsibleActionFail as error:
            if not before:
                raise
            # What the phases before said is not lost for that.
            result = {"failed": True, "msg": str(error)}
        return continued(before, result)

    def _exchange(
        self,
        args: dict[str, Any],
        names: Sequence[str],
        declared: list[dict[str, Any]],
        before: Mapping[str, Any],
        shared: Shared,
        task_vars: dict[str, Any],
    ) -> dict[str, Any]:
        """Take those of the *declared* apps that go on after what was *before* through the phases *names*."""
        told = max(PHASES[name].told for name in names)
        secrets = args.pop("secrets", None) or {}
        root = Path(args.pop("root", None) or bundle_root(task_vars["playbook_dir"]))
        listen = args.pop("listen", 4096)
        apps = left_over(complete_all(declared) if told > Told.NAME else declared, before, names)
        apps = shared.concerned(apps, names)
        if not apps:
            return {
                "changed": False,
                "apps": {},
                "phases": list(names),
                "skipped": True,
                "skipped_reason": "no app is in this phase",
            }
        # The module's arguments hold secrets, and Ansible would write them to the host's journal.
        quiet = {**task_vars, "ansible_no_target_syslog": True}
        maker = None
        if told > Told.NAME:
            require_readable(apps)
            maker = Specs(self._templar, self._loader, self._find_needle, task_vars, root, listen)
        specs = shared.told(maker.make(apps, secrets, told is Told.RELEASE) if maker else named(apps), apps)
        if told is not Told.RELEASE:
            # With passwords, maybe; and only what makes a release installs anything.
            args.pop("uv_environment", None)
        try:
            if told is Told.RELEASE and not self._task.check_mode:
                self._send_sources(specs, apps, root, as_files=PHASES[names[0]].told is told)
                if not all(sent(spec) for spec in specs):
                    # Too large to be sent on the chance that it is wanted: what is before comes first, by itself.
                    args["then"] = [*takewhile(lambda name: PHASES[name].told is not told, names)][1:]
            arguments = {**args, "apps": specs, "owner": this_run()}

            def formers(found: Mapping[str, Any]) -> list[str]:
                """Tell what apps were in an earlier format, where the host has such releases."""
                if maker is None:
                    return []
                asked = unanswered(found, specs)
                by_name = {app["name"]: app for app in declared}
                for spec in asked:
                    spec["former"] = maker.former(by_name[spec["name"]], secrets.get(spec["name"]) or {})
                return [spec["name"] for spec in asked]

            with self._shown(arguments, quiet):
                result = self.execute("emperor.stack.release", arguments, quiet, formers)
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        result.pop("invocation", None)
        return dict(result)

    @contextlib.contextmanager
    def _shown(self, arguments: dict[str, Any], task_vars: Mapping[str, Any]) -> Iterator[None]:
        """Show during the block how far the host is, where that takes long."""
        arguments["progress"] = token = uuid.uuid4().hex[:16]
        command = f"cat /proc/uptime {layout.current_steps(token)} 2>/dev/null | head -c {progress.ANSWER}"
        look = second_command.reader(self, command, display.verbosity)
        host = str(task_vars.get("inventory_hostname", ""))
        with progress.followed(host, self._task.get_name().strip(), look, display.display):
            yield

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


def this_run() -> Owner:
    """Who deploys: the same for all phases of a run."""
    process = playbook_process()
    token = process_token(process)
    held_runs.hold(token, process)
    return {
        "token": token,
        "who": f"{getpass.getuser()}@{socket.gethostname()}",
        "controller": socket.gethostname(),
    }


def left_over(
    apps: Sequence[Mapping[str, Any]], before: Mapping[str, Any], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Those of *apps* with something to do in the phases *names*, after the result *before*; none where that was stopped."""
    if "stopped" in before:
        return []
    if LEAD in PHASES[names[0]].part_of:
        return moving(apps, before)
    going = going_on(apps, before.get("apps") or {}) if before else [dict(app) for app in apps]
    return [app for app in going if not set(names) <= set(app.get("done", ()))]


def moving(apps: Sequence[Mapping[str, Any]], before: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those of *apps* that the host begins or ends to lead, each with `lead`."""
    outcomes = before.get("apps") or {}
    leads = {name: one["lead"] for name, one in outcomes.items() if one.get("lead") and not one.get("error")}
    return [{**app, "lead": leads[app["name"]]} for app in apps if app["name"] in leads]


def named(apps: Sequence[Mapping[str, Any]]) -> list[ReleaseSpec]:
    """What a phase is told of *apps* that works on what the host remembers."""
    return [
        cast(ReleaseSpec, {key: app[key] for key in ("name", "done", "lead") if app.get(key)}) for app in apps
    ]


def require_readable(apps: Sequence[Mapping[str, Any]]) -> None:
    """Raise AnsibleActionFail where a setting of *apps* could not be decrypted. In our playbooks the check comes first."""
    if names := [app["name"] for app in apps if unreadable(app)]:
        raise AnsibleActionFail(
            f"{', '.join(names)}: a setting is encrypted, and no given vault password decrypts it. "
            "Add --vault-password-file FILE or --vault-id NAME@FILE. No host was contacted or changed."
        )


def continued(before: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """The *result* of an exchange, as one with that of the exchanges *before* it.

    `stopped` is why one of them came to no end, so that nothing is known of its apps.
    """
    whole = {**result, "apps": together(before.get("apps") or {}, result.get("apps") or {})}
    whole["phases"] = [*before.get("phases", ()), *result.get("phases", ())]
    if "stopped" in before:
        whole["stopped"] = before["stopped"]
    elif result.get("failed") and "apps" not in result:
        whole["stopped"] = str(
            result.get("module_stderr") or result.get("msg") or "a phase failed without a reason"
        )
    return whole


def comes_from_here(source: Source) -> bool:
    """Whether the controller has the source, and the host does not fetch it."""
    archive = source.get("archive")
    return bool(source.get("path")) or bool(archive and "://" not in archive)


def sent(spec: ReleaseSpec) -> bool:
    here = comes_from_here(spec["source"]) and "refused" not in spec
    return not here or "archive" in spec or "archive_content" in spec


def size_of(source: Source, root: Path) -> int:
    """Bytes of the source as it lies there."""
    if archive := source.get("archive"):
        return (root / archive).stat().st_size
    return sum(path.lstat().st_size for path in source_files(code_directory(source, root)))


def unanswered(result: Mapping[str, Any], specs: list[ReleaseSpec]) -> list[ReleaseSpec]:
    """Those of *specs* of which the host has to know more: what an app was in an earlier format."""
    found = result.get("apps", {})
    return [
        spec
        for spec in specs
        if found.get(spec["name"], {}).get("action") == "compare" and "former" not in spec
    ]
