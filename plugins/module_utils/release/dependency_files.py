"""Which of an app's files says what its venv holds, and the commands that fill the venv from that file."""

from __future__ import annotations

import fnmatch
import os
import posixpath
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..files.reading import text
from ..host import layout
from ..host.release_error import ReleaseError

UV = f"{layout.LIBRARY}/tools/bin/uv"

#: Files that are read, the first that exists. requirements.txt stands before the locks of other tools, so that an app
#: that has both gets the versions that it always got.
READ = (
    "uv.lock",
    "requirements.txt",
    "pylock.toml",
    "poetry.lock",
    "pdm.lock",
    "Pipfile.lock",
    "pyproject.toml",
)

#: Files that nothing here reads.
NOT_READ = (
    "Pipfile",
    "setup.py",
    "requirements.in",
    "environment.yml",
    "environment.yaml",
    "conda-lock.yml",
    "pixi.lock",
)

#: Files from which another file was made, or that are read together with it.
BELONGS = {
    "uv.lock": ("pyproject.toml", "setup.py"),
    "pylock.toml": ("pyproject.toml", "setup.py"),
    "poetry.lock": ("pyproject.toml", "setup.py"),
    "pdm.lock": ("pyproject.toml", "setup.py"),
    "Pipfile.lock": ("Pipfile",),
    "pyproject.toml": ("setup.py",),
    "requirements.txt": ("requirements.in",),
}

#: Where a lock has to be read by the tool that wrote it: the tool.
TOOLS = {"poetry.lock": "poetry", "pdm.lock": "pdm", "Pipfile.lock": "pipenv"}

#: Characters of a pyproject.toml: many times the largest that people write.
LARGEST_PROJECT = 1 << 18

#: The version for build backends that would ask git, whose directory no release has.
_VERSION_VARIABLES = (
    "SETUPTOOLS_SCM_PRETEND_VERSION",
    "PDM_BUILD_SCM_VERSION",
    "PBR_VERSION",
    "POETRY_DYNAMIC_VERSIONING_BYPASS",
    "UV_DYNAMIC_VERSIONING_BYPASS",
)

#: What a source distribution says of its own version, above everything that its author wrote.
_OWN_VERSION = re.compile(r"^Version: ([0-9A-Za-z.!+-]{1,60})$", re.MULTILINE)

#: A plain version, in front of which tags have a `v`.
_VERSION = re.compile(r"v?(\d{1,9}(?:\.\d{1,9}){0,5}(?:(?:a|b|rc|\.post|\.dev)\d{1,9})?)")


@dataclass(frozen=True)
class Wanted:
    """What an app's entry says of its dependencies."""

    requirements: str | None = None
    package: str | None = None
    extras: Sequence[str] = ()
    groups: Sequence[str] = ()
    #: What people call the version of the source.
    version: str = ""


@dataclass(frozen=True)
class Step:
    """A command that fills the venv, run in `directory` of the code."""

    words: list[str]
    #: Whether uv may choose versions, so that pins hold.
    chooses: bool = False
    #: Whether the command installs the code itself, as a package.
    project: bool = False
    #: The tool whose lock is exported by the command to where the next step reads it; empty: the command is uv's.
    tool: str = ""
    directory: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


def lock_of(tool: str) -> str:
    """The requirements of a tool that reads a lock, with hashes: the role installs the file."""
    return f"{layout.LIBRARY}/lock-tools/{tool}.txt"


def tool_directory(venv: str) -> str:
    """Where such a tool is installed for the moment: the app's user can write there while the venv is made."""
    return f"{venv}/.lock-tool"


def exported(venv: str) -> str:
    """The requirements that a tool has exported."""
    return f"{tool_directory(venv)}/requirements.txt"


# Choosing


def chosen(code: str, wanted: Wanted) -> str | None:
    """The file that fills the venv; None where there is none. Raises ReleaseError."""
    if wanted.package is not None or wanted.requirements is not None:
        return wanted.requirements
    files = set(os.listdir(code))
    return next((name for name in READ if name in files and _declares(code, name, files)), None)


def unread(code: str, wanted: Wanted) -> list[str]:
    """Files of dependencies at the top of the code that are not read, although nobody chose another one.

    Raises ReleaseError where the first that is read cannot be told.
    """
    if wanted.package is not None or wanted.requirements is not None:
        return []
    files = set(os.listdir(code))
    read = chosen(code, wanted)
    found = [
        name
        for name in (*READ, *NOT_READ)
        if name in files
        and name != read
        and name not in BELONGS.get(read or "", ())
        and _may_declare(code, name, files)
    ]
    if read is None:
        found += sorted(name for name in files if re.fullmatch(r"requirements[\w.-]{1,60}\.txt", name))
        found += [f"{name}/" for name in ("requirements",) if name in files]
    return found


def notes(code: str, wanted: Wanted) -> list[str]:
    """What a deploy says of files that are not read. Raises ReleaseError."""
    if not (others := unread(code, wanted)):
        return []
    read = chosen(code, wanted)
    listed = ", ".join(others)
    if read is None:
        return [f"{listed}: not read, so nothing is installed. {_read_are()}"]
    return [f"{listed}: not read, because {read} is. Choose one by `requirements:`, or delete the others"]


def nothing_installed() -> str:
    """For an app that lacks a module and has no file of dependencies."""
    return f"nothing was installed, because the code has no file that names its dependencies. {_read_are()}"


def _read_are() -> str:
    return f"Name a file by `requirements:`, or commit one of {', '.join(READ)}"


def _declares(code: str, name: str, files: set[str]) -> bool:
    """Whether file *name* says something of dependencies. Many a pyproject.toml only has settings of tools."""
    if name != "pyproject.toml":
        return True
    project = _project(code, "")
    poetry = _table(project, "tool", "poetry", "dependencies")
    return bool({"project", "build-system"} & project.keys() or poetry or {"setup.py", "setup.cfg"} & files)


def _may_declare(code: str, name: str, files: set[str]) -> bool:
    """The same for a file that nobody reads, which may be broken."""
    try:
        return _declares(code, name, files)
    except ReleaseError:
        return True


def _project(code: str, directory: str) -> dict[str, Any]:
    """The pyproject.toml in *directory* of the code; empty where there is none. Raises ReleaseError."""
    place = posixpath.join(directory, "pyproject.toml")
    content = text(code, place) or ""
    if len(content) > LARGEST_PROJECT:
        raise ReleaseError(f"{place} is larger than {LARGEST_PROJECT >> 10} KiB")
    try:
        return tomllib.loads(content)
    except RecursionError:
        raise ReleaseError(f"{place}: it is nested too deep") from None
    except ValueError as error:
        raise ReleaseError(f"{place}: {str(error)[:200]}") from None


def _table(project: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The table at *names*; empty where there is none."""
    found: Any = project
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _is_package(project: Mapping[str, Any]) -> bool:
    """Whether the code is to be installed as a package, by what the tools' own settings say."""
    tools = _table(project, "tool")
    return bool(project) and not (
        _table(tools, "uv").get("package") is False
        or _table(tools, "poetry").get("package-mode") is False
        or _table(tools, "pdm").get("distribution") is False
    )


def version_note(code: str, python: str) -> str:
    """What a deploy says where .python-version names another minor version than *python*; else empty.

    Raises ReleaseError.
    """
    lines = (text(code, ".python-version") or "").split("\n", 1)
    found = re.fullmatch(r"(?:c?python-?)?(3\.\d{1,2})(?:\.\d{1,3})?", lines[0].strip()[:40])
    if found is None or found[1] == python:
        return ""
    return (
        f".python-version names Python {found[1]}, but this release has {python}. "
        f'Set `python: "{found[1]}"`, or change the file'
    )


# Commands


def steps(code: str, venv: str, wanted: Wanted) -> list[Step]:
    """The commands that fill *venv*. Raises ReleaseError."""
    install = ["pip", "install", "--python", f"{venv}/bin/python"]
    read = chosen(code, wanted)
    if wanted.package is not None:
        return [_package(code, install, wanted.package, read)]
    if read is None:
        return []
    return _of_file(code, venv, install, wanted, read)


def _refuse_choice(read: str, wanted: Wanted, *keys: str) -> None:
    """Raise ReleaseError where one of *keys* is set for a file that has no such parts."""
    for key in keys:
        if getattr(wanted, key):
            raise ReleaseError(f"`{key}` has no effect with {read}, which has no {key}: remove the key")


def _of_file(code: str, venv: str, install: list[str], wanted: Wanted, read: str) -> list[Step]:
    directory, name = posixpath.split(read)
    extras = [word for extra in wanted.extras for word in ("--extra", extra)]
    groups = [word for group in wanted.groups for word in ("--group", group)]
    path = f"{code}/{read}"
    if name == "uv.lock":
        return _uv_lock(code, directory, ["--python", f"{venv}/bin/python", *extras, *groups], wanted)
    if name in TOOLS:
        if text(code, read) is None:
            raise _missing(read)
        export = Step(_export(name, wanted), tool=TOOLS[name], directory=directory)
        installs = Step([*install, "--no-deps", "-r", exported(venv)], directory=directory)
        project = [] if name == "Pipfile.lock" else _project_itself(code, directory, install, wanted)
        return [export, installs, *project]
    if name == "pylock.toml" or fnmatch.fnmatchcase(name, "pylock.*.toml"):
        words = [*install, "--preview-features", "pylock", *extras, *groups, "-r", path]
        return [Step(words, directory=directory), *_project_itself(code, directory, install, wanted)]
    if name == "pyproject.toml":
        return _of_project(code, directory, install, extras, wanted)
    if name == "Pipfile":
        raise ReleaseError("Pipfile names no versions: commit Pipfile.lock, which `pipenv lock` writes")
    _refuse_choice(read, wanted, "extras", "groups")
    return [Step([*install, *_hashes(code, read), "-r", path], chooses=True)]


def _package(code: str, install: list[str], package: str, requirements: str | None) -> Step:
    if requirements is None:
        return Step([*install, package], chooses=True)
    path, hashes = f"{code}/{requirements}", _hashes(code, requirements)
    # As constraints too: there uv finds the hash of a package that stands on the command line.
    more = [*hashes, "-c", path] if hashes else []
    return Step([*install, *more, package, "-r", path], chooses=True)


def _hashes(code: str, requirements: str) -> list[str]:
    content = text(code, requirements)
    if content is None:
        raise _missing(requirements)
    found = any("--hash=" in line.partition("#")[0] for line in content.splitlines())
    return ["--require-hashes"] if found else []


def _missing(read: str) -> ReleaseError:
    return ReleaseError(f"the source has no {posixpath.basename(read)}. Correct `requirements:` of the app.")


def _uv_lock(code: str, directory: str, more: list[str], wanted: Wanted) -> list[Step]:
    sync = ["sync", "--frozen", "--no-dev", "--no-editable", "--active", *more]
    sync += ["--project", posixpath.join(code, directory).removesuffix("/")]
    version = _version(code, directory, wanted)
    if not version:
        return [Step(sync)]
    # The version is the project's alone: a dependency that is built would take it for its own.
    return [Step([*sync, "--no-install-project"]), Step(sync, environment=version)]


def _of_project(
    code: str, directory: str, install: list[str], extras: list[str], wanted: Wanted
) -> list[Step]:
    """What a pyproject.toml without a lock names, and the project itself where that is a package."""
    path = posixpath.join(code, directory, "pyproject.toml")
    project = _project(code, directory)
    if not project and text(code, posixpath.join(directory, "pyproject.toml")) is None:
        raise _missing("pyproject.toml")
    static = "dependencies" in _table(project, "project")
    poetry = _table(project, "tool", "poetry", "dependencies")
    if poetry and not static and not ("build-system" in project and _is_package(project)):
        raise ReleaseError(
            "pyproject.toml names its dependencies in [tool.poetry.dependencies], which only poetry reads where "
            "the project is no package: commit poetry.lock, which `poetry lock` writes"
        )
    groups = [word for group in wanted.groups for word in ("--group", f"{path}:{group}")]
    # Without a list of them, the build backend is asked for the dependencies.
    version = {} if static else _version(code, directory, wanted)
    first = Step([*install, *extras, *groups, "-r", path], chooses=True, environment=version)
    return [first, *_project_itself(code, directory, install, wanted)]


def _project_itself(code: str, directory: str, install: list[str], wanted: Wanted) -> list[Step]:
    if not _is_package(_project(code, directory)):
        return []
    words = [*install, "--no-deps", posixpath.join(code, directory).removesuffix("/")]
    return [Step(words, project=True, environment=_version(code, directory, wanted))]


def _version(code: str, directory: str, wanted: Wanted) -> dict[str, str]:
    """Variables with the version for a project that does not name its own; empty for one that does."""
    project = _project(code, directory)
    dynamic = _table(project, "project").get("dynamic")
    names_none = "project" not in project or (isinstance(dynamic, list) and "version" in dynamic)
    if not project or not names_none:
        return {}
    found = _own_version(code, directory) or _VERSION.fullmatch(wanted.version)
    version = (
        found[1] if found else "0+" + (re.sub(r"[^a-z0-9]+", ".", wanted.version.lower()).strip(".") or "0")
    )
    return dict.fromkeys(_VERSION_VARIABLES, version)


def _own_version(code: str, directory: str) -> re.Match[str] | None:
    """The version of a source distribution, which has no history that a build backend could ask."""
    try:
        return _OWN_VERSION.search(text(code, posixpath.join(directory, "PKG-INFO")) or "")
    except ReleaseError:
        return None


def _export(name: str, wanted: Wanted) -> list[str]:
    """The words by which a tool prints what its lock holds, as a requirements file."""
    if name == "poetry.lock":
        extras = [word for extra in wanted.extras for word in ("--extras", extra)]
        groups = [word for group in wanted.groups for word in ("--with", group)]
        return ["export", "--no-interaction", "--format", "requirements.txt", *extras, *groups]
    if name == "pdm.lock":
        more = [word for one in (*wanted.extras, *wanted.groups) for word in ("--group", one)]
        # Without --prod, the groups for development are those that are named.
        return ["export", "--format", "requirements", *([] if wanted.groups else ["--prod"]), *more]
    _refuse_choice(name, wanted, "extras")
    return ["requirements", "--hash", "--categories", " ".join(["packages", *wanted.groups])]
