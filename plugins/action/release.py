"""Controller side of `emperor.stack.release`: make each app's material, send it once, deal with the locks of dead runs."""

from __future__ import annotations

import getpass
import hashlib
import json
import multiprocessing
import os
import re
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

from ..module_utils import layout
from ..module_utils.apps import complete_all, unit_files
from ..module_utils.traffic_schema import FRONT_ONLY
from ..plugin_utils.plain import plain
from ..plugin_utils.rendering import render_each
from .check_apps import bundle_root, cause

#: Part of every fingerprint: raised when releases must be made anew although nothing of the app changed.
FORMAT = "1"

#: What of the role is part of every release.
TEMPLATES = ("vassal.ini.j2", "gunicorn.conf.py.j2", "process.service.j2", "process.timer.j2")
FILES = ("entry.py", "launch.py")

#: What of a source is told by the revision.
REVISION_KEYS = ("version", "path", "archive", "checksum", "package")

#: Directories of a source that are no part of it, where it is not a git checkout that says so itself.
NO_SOURCE = {
    ".git",
    ".hg",
    "__pycache__",
    ".venv",
    ".tox",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    "node_modules",
}


def source_files(directory: Path) -> list[Path]:
    """The files of a source directory, sorted: in a git checkout those that git tracks or does not ignore."""
    try:
        listing = subprocess.run(
            # A checkout of another user is read all the same, and nothing that it configures is run.
            ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false"]
            + ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "."],
            cwd=directory,
            capture_output=True,
            check=True,
        ).stdout
        found = {directory / os.fsdecode(name) for name in listing.split(b"\0") if name}
    except (OSError, subprocess.CalledProcessError):
        found = set()
    # Without any, the directory is no checkout, or one that a checkout around it ignores as a whole.
    return sorted(path for path in found or _walk(directory) if path.is_symlink() or path.is_file())


def _walk(directory: Path) -> Iterator[Path]:
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            if path.name not in NO_SOURCE:
                yield from _walk(path)
        elif path.suffix != ".pyc":
            yield path


def directory_digest(directory: Path) -> str:
    """A digest of names, contents and execute bits: the revision of a directory source, 40 hex digits."""
    digest = hashlib.sha1(usedforsecurity=False)
    for path in source_files(directory):
        digest.update(os.fsencode(path.relative_to(directory)) + b"\0")
        if path.is_symlink():
            digest.update(b"link " + os.fsencode(path.readlink()))
        else:
            digest.update(b"x" if os.access(path, os.X_OK) else b"-")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def pack(directory: Path, archive: Path) -> None:
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for path in source_files(directory):
            tar.add(path, arcname=path.relative_to(directory).as_posix(), recursive=False)


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
        self._rendered = self._texts() if phase in ("plan", "prepare") else {}
        self._host_variables = task_vars or {}
        # The module's arguments hold secrets, and Ansible would write them to the host's journal.
        quiet = {**self._host_variables, "ansible_no_target_syslog": True}
        made = self._made(apps) if phase in ("plan", "prepare") else {}
        specs = [
            self._spec(phase, app, secrets.get(app["name"]) or {}, root, made.get(app["name"], {}))
            for app in apps
        ]
        try:
            if phase == "prepare" and not self._task.check_mode:
                for spec, app in zip(specs, apps, strict=True):
                    self._send_source(spec, app, root)
            # One owner for all phases of a run.
            owner = {
                "token": process_token(playbook_process()),
                "who": f"{getpass.getuser()}@{socket.gethostname()}",
                "controller": socket.gethostname(),
            }
            args.pop("listen", None)
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

    def _texts(self) -> dict[str, str]:
        return {
            name: Path(self._find_needle(kind, name)).read_text(encoding="utf-8")
            for kind, names in (("templates", TEMPLATES), ("files", FILES))
            for name in names
        }

    def _spec(
        self,
        phase: str,
        app: dict[str, Any],
        secrets: Mapping[str, str],
        root: Path,
        texts: Mapping[str, dict[str, str]],
    ) -> dict[str, Any]:
        """What the host needs of an app in this phase: all of it to plan and prepare, else its name."""
        if phase not in ("plan", "prepare"):
            return {"name": app["name"]}
        source = app["source"]
        key = None
        if source.get("key"):
            with open(self._loader.get_real_file(str(root / source["key"])), encoding="utf-8") as file:
                key = file.read()
        chosen = {name: str(secrets[name]) for name in app["secrets"]}
        made = {
            "files": {
                name: self._render_file(app, name, root / template, chosen)
                for name, template in app["files"].items()
            },
            **texts,
            **{name.removesuffix(".py"): self._rendered[name] for name in FILES},
        }
        material = {
            **app,
            # The revision is in the name of the release, and the Python in its manifest.
            "source": {k: v for k, v in source.items() if k not in REVISION_KEYS},
            "secrets": chosen,
            **made,
            "format": FORMAT,
        }
        # `tls` and the like are of the front, where the data came from is past: none is a part of a release.
        for name in ("action", "revision", "python", "tls", "nginx", "renamed_from", *FRONT_ONLY):
            material.pop(name, None)
        fingerprint = hashlib.sha256(json.dumps(material, sort_keys=True).encode()).hexdigest()
        spec: dict[str, Any] = {
            "name": app["name"],
            "source": source,
            "python": app["python"],
            "key": key,
            "fingerprint": fingerprint,
        }
        if digest := source_digest(source, root):
            spec["digest"] = digest
        if phase == "plan":
            return spec
        return {
            **app,
            **spec,
            "revision": spec.get("digest") or app["revision"],
            "environment": {**app["env"], **chosen},
            "secrets": chosen,
            **made,
        }

    def _render_file(self, app: dict[str, Any], name: str, template: Path, secrets: dict[str, str]) -> str:
        """One of the app's `files`, by the variables of the host. No message shows its content."""
        variables = {**self._host_variables, "app": app, "secrets": secrets}
        place = f"{app['name']}: files: {name}: {template}"
        text = ""
        try:
            text = _trusted(self._loader.get_text_file_contents(str(template)))
            templar = self._templar.copy_with_new_env(
                searchpath=[str(template.parent)], available_variables=variables
            )
            rendered = templar.template(text, escape_backslashes=False, overrides={"trim_blocks": True})
        except AnsibleError as error:
            line = line_of(error, text)
            raise AnsibleActionFail(f"{place}{f', line {line}' if line else ''}: {cause(error)}") from None
        return "" if rendered is None else str(rendered)

    def _made(self, apps: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, str]]]:
        """What the bundle's templates give for each of *apps*, by its name: `server_files` and `units`, by file name."""
        made: dict[str, dict[str, dict[str, str]]] = {}
        wanted: dict[tuple[str, tuple[str, ...]], list[tuple[dict[str, str], str, dict[str, Any]]]] = {}
        for app in apps:
            name = app["name"]
            common = {
                "app": app,
                "home": layout.cache(name),
                "temporary": layout.temporary(name),
                "socket_directory": layout.socket_directory(name),
                "listen": self._task.args.get("listen", 4096),
            }
            server = "vassal.ini" if app["server"] == "uwsgi" else "gunicorn.conf.py"
            files: dict[str, str] = {}
            units: dict[str, str] = {}
            made[name] = {"server_files": files, "units": units}
            rows = [(files, server, f"{server}.j2", common)]
            rows += [(units, file, template, {**common, **more}) for file, template, more in unit_files(app)]
            for place, file, template, variables in rows:
                wanted.setdefault((template, tuple(sorted(variables))), []).append((place, file, variables))
        for (template, _), group in wanted.items():
            # Nothing but these variables: a release must not differ by what else a host has.
            texts = render_each(self._templar, self._rendered[template], [row for *_, row in group], {})
            for (place, file, _), text in zip(group, texts, strict=True):
                place[file] = text
        return made

    def _send_source(self, spec: dict[str, Any], app: dict[str, Any], root: Path) -> None:
        """Put a directory or an archive of the controller into a file on the host, for the module to unpack."""
        source = app["source"]
        local_archive = source.get("archive") and "://" not in source["archive"]
        if not (source.get("path") or local_archive) or app.get("action") == "finish":
            return
        if self._connection._shell.tmpdir is None:
            self._make_tmp_path()
        remote = self._connection._shell.join_path(self._connection._shell.tmpdir, f"{app['name']}.source")
        with tempfile.TemporaryDirectory() as directory:
            if local_archive:
                local = root / source["archive"]
            else:
                local = Path(directory) / "source.tar.gz"
                pack(code_directory(source, root), local)
            self._transfer_file(str(local), remote)
        spec["archive"] = remote


def code_directory(source: Mapping[str, Any], root: Path) -> Path:
    return root / source["path"] / (source.get("subdirectory") or ".")


def source_digest(source: Mapping[str, Any], root: Path) -> str:
    """The revision of a source that the controller knows it of: 40 hex digits. Of git the host knows it."""
    if source.get("path"):
        return directory_digest(code_directory(source, root))
    if source.get("archive"):
        return str(source["checksum"]).removeprefix("sha256:")[:40]
    if source.get("package"):
        return hashlib.sha1(source["package"].encode(), usedforsecurity=False).hexdigest()
    return ""


def line_of(error: BaseException, template: str) -> int | None:
    """The line of a template in which it failed: as Jinja says, else the first that has the name which is undefined."""
    while error.__cause__ is not None:
        error = error.__cause__
    if lineno := getattr(error, "lineno", None):
        return int(lineno)
    names = re.findall(r"'([A-Za-z_]\w*)'", cause(error))
    lines = enumerate(template.splitlines(), 1)
    return next((number for number, line in lines if names and re.search(rf"\b{names[-1]}\b", line)), None)


def _trusted(text: str) -> str:
    """Mark a template of the bundle's own as one that may be rendered (ansible-core 2.19 and later ask for that)."""
    from ansible.template import trust_as_template

    return trust_as_template(text)


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
