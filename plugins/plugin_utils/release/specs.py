"""What a host is told of the apps that it is to have live, made of their declarations, sources and secrets."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ...module_utils.files.trees import DEEPEST, printable
from ...module_utils.host.release_error import ReleaseError
from ...module_utils.release.spec import ReleaseSpec
from ...module_utils.source.spec import Source
from ..controller.bundle import cause
from ..controller.rendering import render_each
from ..schema.apps import chosen_of_release, is_present, unit_files
from . import format_1

#: The beginning of every fingerprint: raised when all releases must be made anew although no entry changed.
FORMAT = "2"

#: The length of an app's queue that goes without saying.
LISTEN = 4096

#: Files of the role that are part of every release as they are.
FILES = ("entry.py", "launch.py", "import_check.py")

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


#: git in a checkout of whoever: nothing that it configures is run, and an object that it lacks is fetched from nowhere.
_GIT = ("git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
_GIT_ENVIRONMENT = {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0"}


def source_files(directory: Path) -> list[Path]:
    """The files of a source directory, sorted: in a git checkout those that git tracks or does not ignore.

    None of them lies outside of it, whatever a checkout's index says, or behind a link: that would be another directory's.

    Raises ReleaseError where it is nested too deep, as the host would.
    """
    try:
        listing = subprocess.run(
            [*_GIT, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "."],
            cwd=directory,
            env={**os.environ, **_GIT_ENVIRONMENT},
            capture_output=True,
            check=True,
        ).stdout
        names = {os.fsdecode(name) for name in listing.split(b"\0") if name}
        found = {directory / name for name in names if _stays(directory, name)}
        # Submodules, of which the index has the directory. One that is not checked out is empty, as for git.
        for path in [
            one for one in found if one.is_dir() and not one.is_symlink() and (one / ".git").exists()
        ]:
            if len(path.parts) <= len(directory.parts) + DEEPEST:
                found |= set(source_files(path))
    except (OSError, subprocess.CalledProcessError):
        found = set()
    top = len(directory.parts) + DEEPEST + 1
    for path in found:
        if len(path.parts) > top:
            raise _too_deep(path, directory)
    # Without any, the directory is no checkout, or one that a checkout around it ignores as a whole.
    return sorted(path for path in found or _walk(directory) if path.is_symlink() or path.is_file())


def _stays(directory: Path, name: str) -> bool:
    """Whether *name*, as an index has it, is a path below *directory* with no link before its last part."""
    *above, last = name.split("/")
    if name.startswith("/") or last in ("", "..") or ".." in above:
        return False
    return not any((directory / "/".join(above[:depth])).is_symlink() for depth in range(1, len(above) + 1))


def _walk(top: Path) -> Iterator[Path]:
    waiting = [top]
    while waiting:
        directory = waiting.pop()
        if len(directory.parts) - len(top.parts) > DEEPEST:
            raise _too_deep(directory, top)
        for path in directory.iterdir():
            if path.is_dir() and not path.is_symlink():
                if path.name not in NO_SOURCE:
                    waiting.append(path)
            elif path.suffix != ".pyc":
                yield path


def _too_deep(path: Path, top: Path) -> ReleaseError:
    shown = printable(f"{top.name}/{path.relative_to(top)}")
    return ReleaseError(f"{shown} lies more than {DEEPEST} directories deep. Remove it from source.path")


def directory_digest(directory: Path) -> str:
    """A digest of names, contents and execute bits: the revision of a directory source, 40 hex digits.

    Raises ReleaseError and OSError.
    """
    digest = hashlib.sha1(usedforsecurity=False)
    for path in source_files(directory):
        digest.update(os.fsencode(path.relative_to(directory)) + b"\0")
        if path.is_symlink():
            digest.update(b"link " + os.fsencode(path.readlink()))
        else:
            digest.update(b"x" if os.access(path, os.X_OK) else b"-")
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def pack(directory: Path, archive: Path) -> None:
    # In this format names are bytes, whatever their encoding.
    with tarfile.open(archive, "w:gz", compresslevel=1, format=tarfile.GNU_FORMAT) as tar:
        for path in source_files(directory):
            tar.add(path, arcname=path.relative_to(directory).as_posix(), recursive=False)


def refusal(app: Mapping[str, Any], error: ReleaseError | OSError) -> ReleaseSpec:
    """What the host is told of *app* whose source cannot be read here: it fails by itself, and the others go on."""
    reason = error
    if isinstance(error, OSError):
        reason = ReleaseError(f"source: {printable(str(error.filename or ''))}: {error.strerror}")
    return {"name": app["name"], "source": app["source"], "refused": str(reason)}


class Specs:
    """Makes them.

    *find* gives the path of a file of role python_apps by its kind (`templates`, `files`) and name; *variables* are the
    host's, for the files of apps; paths of sources are below *root*; *listen* is the length of an app's queue.
    """

    def __init__(
        self,
        templar: Templar,
        loader: DataLoader,
        find: Callable[[str, str], str],
        variables: Mapping[str, Any],
        root: Path,
        listen: int,
    ) -> None:
        self._templar, self._loader = templar, loader
        self._variables, self._root, self._listen = variables, root, listen
        self._find = find

    def make(
        self, apps: list[dict[str, Any]], secrets: Mapping[str, Mapping[str, str]], whole: bool
    ) -> list[ReleaseSpec]:
        """One for each of *apps*: what a plan needs, or all that a release is made of (*whole*).

        Raises AnsibleActionFail where a file of an app cannot be rendered.
        """
        own = self._own_texts(apps) if whole else {}
        specs: list[ReleaseSpec] = []
        for app in apps:
            try:
                specs.append(self._spec(app, secrets.get(app["name"]) or {}, own.get(app["name"])))
            except (ReleaseError, OSError) as error:
                specs.append(refusal(app, error))
        return specs

    def _spec(
        self, app: dict[str, Any], secrets: Mapping[str, str], own: Mapping[str, Any] | None
    ) -> ReleaseSpec:
        """What a plan needs of *app*; with *own*, the bundle's texts for it, all that its release is made of."""
        root, source = self._root, app["source"]
        key = None
        if source.get("key"):
            with open(self._loader.get_real_file(str(root / source["key"])), encoding="utf-8") as file:
                key = file.read()
        chosen = {name: str(secrets[name]) for name in (*app["secrets"], *app["connections"])}
        files = {
            name: self._render_file(app, name, root / template, chosen)
            for name, template in app["files"].items()
        }
        spec: ReleaseSpec = {
            "name": app["name"],
            "source": source,
            "python": app["python"],
            "key": key,
            "fingerprint": fingerprint(app, chosen, files, self._listen),
        }
        leads = is_first(app, self._variables)
        if leads is not None:
            spec["leads"] = leads
        if digest := source_digest(source, root):
            spec["digest"] = digest
        if own is None:
            return spec
        whole = {
            **app,
            **spec,
            # Where a plan goes before in the same exchange, that finds it.
            "revision": spec.get("digest") or app.get("revision"),
            "environment": {**app["env"], **chosen},
            "secrets": chosen,
            "files": files,
            **own,
        }
        return cast(ReleaseSpec, whole)

    def former(self, declared: Mapping[str, Any], secrets: Mapping[str, str]) -> str:
        """The fingerprint that the app, *declared* so, had in format 1; empty where it can have had none."""
        static = declared.get("static") or {}
        if FORMAT != format_1.FOLLOWED_BY or any(not isinstance(path, str) for path in static.values()):
            return ""
        chosen = {name: str(secrets[name]) for name in declared.get("secrets") or ()}
        return format_1.fingerprint(
            declared,
            chosen_of_release(declared),
            chosen,
            self._listen,
            lambda text, variables: render_each(self._templar, text, [variables], {})[0],
            lambda app, name, template: self._render_file(app, name, self._root / template, chosen),
        )

    def _render_file(
        self, app: Mapping[str, Any], name: str, template: Path, secrets: Mapping[str, str]
    ) -> str:
        """One of the app's `files`, by the variables of the host. No message shows its content."""
        variables = {**self._variables, "app": app, "secrets": secrets}
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

    def _own_texts(self, apps: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """The bundle's texts in a release of each of *apps*, by its name: `server_files` and `units`, and `FILES`."""
        files = {name.removesuffix(".py"): self._text("files", name) for name in FILES}
        made = self._made(apps)
        return {name: {**texts, **files} for name, texts in made.items()}

    def _text(self, kind: str, name: str) -> str:
        return Path(self._find(kind, name)).read_text(encoding="utf-8")

    def _made(self, apps: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, str]]]:
        """What the bundle's templates give for each of *apps*, by its name: `server_files` and `units`, by file name."""
        made: dict[str, dict[str, dict[str, str]]] = {}
        wanted: dict[tuple[str, tuple[str, ...]], list[tuple[dict[str, str], str, dict[str, Any]]]] = {}
        for app in apps:
            name = app["name"]
            common = {
                "app": app,
                "listen": self._listen,
            }
            server = "vassal.ini" if app["server"] == "uwsgi" else "gunicorn.conf.py"
            files: dict[str, str] = {}
            units: dict[str, str] = {}
            made[name] = {"server_files": files, "units": units}
            if app["asgi"]:
                files["asgi.py"] = self._text("files", "asgi.py")
            rows = [(files, server, f"{server}.j2", common)]
            rows += [(units, file, template, {**common, **more}) for file, template, more in unit_files(app)]
            for place, file, template, variables in rows:
                wanted.setdefault((template, tuple(sorted(variables))), []).append((place, file, variables))
        for (template, _), group in wanted.items():
            # Nothing but these variables: a release must not differ by what else a host has.
            texts = render_each(
                self._templar, self._text("templates", template), [row for *_, row in group], {}
            )
            for (place, file, _), text in zip(group, texts, strict=True):
                place[file] = text
        return made


def is_first(app: Mapping[str, Any], variables: Mapping[str, Any]) -> bool | None:
    """Whether the host with these *variables* is the first one that has the completed *app*.

    None where the app runs nothing on one host alone, and in a run that leaves hosts of the app out: what they run there is
    then not known.
    """
    if not any(one["run_on"] == "first" for one in (*app["workers"].values(), *app["schedule"].values())):
        return None
    hostvars = variables["hostvars"]
    hosts = [
        host
        for host in variables["groups"]["app_hosts"]
        if any(
            one["name"] == app["name"] and is_present(one) for one in hostvars[host].get("python_apps") or ()
        )
    ]
    if not set(hosts) <= set(variables["ansible_play_hosts_all"]):
        return None
    return bool(hosts[:1] == [variables["inventory_hostname"]])


def fingerprint(
    app: Mapping[str, Any], secrets: Mapping[str, str], files: Mapping[str, str], listen: int
) -> str:
    """What was chosen for the releases of the completed *app*, in short: with another one it needs a new release.

    The bundle's own texts and what goes without saying are no part of it: neither a new version of the bundle nor a new
    key with a default makes a release anew. Begins with `FORMAT` and a colon.
    """
    chosen = chosen_of_release(app)
    # The revision is in the name of the release.
    source = {name: value for name, value in chosen["source"].items() if name not in REVISION_KEYS}
    material: dict[str, Any] = {"app": {**chosen, "source": source}, "secrets": secrets, "files": files}
    if listen != LISTEN:
        material["listen"] = listen
    return f"{FORMAT}:{hashlib.sha256(json.dumps(material, sort_keys=True).encode()).hexdigest()}"


def code_directory(source: Source, root: Path) -> Path:
    """The directory of the controller that becomes the code. Raises ReleaseError where it is not in `source.path`."""
    whole, subdirectory = root / str(source["path"]), source.get("subdirectory")
    if not subdirectory:
        return whole
    if not (whole / subdirectory).resolve().is_relative_to(whole.resolve()):
        raise ReleaseError(
            f"source.subdirectory: {subdirectory} in {whole} is a link that leads out of it. Name the "
            "link's target in source.path, or put the directory itself there"
        )
    return whole / subdirectory


def source_digest(source: Source, root: Path) -> str:
    """The revision of a source that the controller knows it of: 40 hex digits. Of git the host knows it."""
    if source.get("path"):
        return directory_digest(code_directory(source, root))
    if source.get("archive"):
        return str(source["checksum"]).removeprefix("sha256:")[:40]
    if package := source.get("package"):
        return hashlib.sha1(package.encode(), usedforsecurity=False).hexdigest()
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
