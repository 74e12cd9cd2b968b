"""The venv of a release: which Python it is made with, what is installed into it, and what of it is remembered."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pwd
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..files.atomic import write_atomically
from ..files.reading import text
from ..files.trees import own
from ..host import disk_quota, layout
from ..host.command import ANSWER, CommandFailed, run
from ..host.release_error import ReleaseError
from ..systemd.app_process import run_as
from . import build_advice, dependency_files, environment, uv_settings
from .dependency_files import UV, Step, Wanted
from .state import AppState
from .venv_links import LOCK, link_venv

#: Debian's. The host's uWSGI is an extension of it, so a venv that this serves must have the same minor version.
PYTHON = "/usr/bin/python3"

#: uWSGI for the apps whose Python is not the host's: an extension of that Python, with the whole server in it.
OWN_SERVER = "pyuwsgi==2.0.30.post1"


#: gunicorn for ASGI apps whose requirements bring none.
ASGI_SERVER = "gunicorn==27.0.1"

#: How many pinned versions without a build for a new Python are given up one after the other, before all are.
PINS_GIVEN_UP = 8


# Interpreters


@functools.cache
def python_version(interpreter: str = PYTHON) -> str:
    """The minor version of *interpreter*, such as 3.13. Raises CommandFailed."""
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    return run([interpreter, "-I", "-c", program], what=interpreter, whole=ANSWER).strip()


def interpreters(named: Mapping[str, str]) -> dict[str, str]:
    """The Pythons of this host, version → path. Those that the role variable has *named* go first."""
    found: dict[str, str] = {}
    candidates = [*named.values(), PYTHON]
    for directory in ("/usr/bin", "/usr/local/bin"):
        names = os.listdir(directory) if os.path.isdir(directory) else []
        candidates += [f"{directory}/{n}" for n in sorted(names) if re.fullmatch(r"python3\.\d+", n)]
    for path in candidates:
        if path in named.values() or os.access(path, os.X_OK):
            try:
                found.setdefault(python_version(path), path)
            except CommandFailed:
                # One that does not run is as good as none; who wants it is told what there is.
                continue
    return found


def interpreter(app: str, version: str, named: Mapping[str, str]) -> str:
    """The path of Python *version*. Raises ReleaseError that says what the host has."""
    found = interpreters(named)
    if version not in found:
        there = ", ".join(f"{one} ({path})" for one, path in sorted(found.items()))
        raise ReleaseError(
            f"{app} needs Python {version}, but this host has {there or 'none'}. Install it, name it in "
            f'python_apps_interpreters: {{"{version}": /path/to/python{version}}}, or change `python:` of '
            "the app."
        )
    return found[version]


# Filling


def uv_environment(app: str, index: Mapping[str, str]) -> dict[str, str]:
    return {
        **environment.of_account(app),
        "TMPDIR": layout.temporary(app),
        "UV_CACHE_DIR": f"{layout.cache(app)}/uv",
        # The venv becomes root's: a hard link would take the cached file away from the app's user.
        "UV_LINK_MODE": "copy",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
        "UV_SYSTEM_CERTS": "1",
        "UV_COMPILE_BYTECODE": "1",
        **index,
    }


#: Each part takes what it can and gives nothing back, so that no line makes it try twice.
_EXACT = re.compile(
    r"[A-Za-z0-9][\w.-]*+(?:\[[\w., -]*+\])?+\s*+===?\s*+[\w.!+-]++(?:\s*+;[^#]*+)?+(?:\s++--hash=\S++)*+\s*+"
)


def is_exact(requirements: str) -> bool:
    """Whether a requirements file names a version for every package and nothing but packages of an index.

    Such a file always gives the same venv; one that says `django>=5`, `-e .` or `-r other.txt` may not.
    """
    lines = re.sub(r"\\\n", " ", requirements).splitlines()
    wanted = [line.partition(" #")[0].strip() for line in lines if not line.lstrip().startswith("#")]
    return all(_EXACT.fullmatch(line) for line in wanted if line)


def is_outdated(own_server: str) -> bool:
    """Whether a release's *own_server*, empty where it has none, is another than a new release would get."""
    return own_server not in ("", OWN_SERVER)


def servers(own_server: bool, is_asgi: bool) -> tuple[str, ...]:
    """What a venv gets beside the requirements: the server of an ASGI app, uWSGI for another Python than the host's."""
    if is_asgi:
        return (ASGI_SERVER,)
    return (OWN_SERVER,) if own_server else ()


def venv_key(
    code: str, wanted: Wanted, python: str, index: Mapping[str, str], servers: Sequence[str] = ()
) -> str:
    """A digest of all that decides what the venv holds; empty where that cannot be told without building it."""
    requirements = dependency_files.chosen(code, wanted) or ""
    plain_file = wanted.package is None and requirements.endswith(".txt")
    content = text(code, requirements) if plain_file else None
    if content is None or not is_exact(content) or wanted.extras or wanted.groups:
        return ""
    # A password decides nothing, and the manifest holds this digest.
    plain, _ = uv_settings.split(index)
    parts = [content, python, os.path.realpath(UV), OWN_SERVER, json.dumps(plain, sort_keys=True)]
    parts += [one for one in servers if one == ASGI_SERVER]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


#: What setuptools says of code that it takes for several packages: such code is imported from where it lies.
_SEVERAL = re.compile(r"Multiple top-level (?:packages|modules) discovered")


class _Filling:
    """A venv that is being filled by commands of the app's user."""

    def __init__(self, app: str, code: str, venv: str, index: Mapping[str, str]) -> None:
        self.app, self.code, self.venv = app, code, venv
        plain, self._private = uv_settings.split(index)
        self._environment = {
            **uv_environment(app, plain),
            "VIRTUAL_ENV": venv,
            "UV_PROJECT_ENVIRONMENT": venv,
        }
        self.warnings: list[str] = []

    def uv(
        self,
        *words: str,
        what: str = "installing the requirements",
        more: Mapping[str, str] | None = None,
        directory: str = "",
    ) -> None:
        account = pwd.getpwnam(self.app)
        with uv_settings.told(self._private, account.pw_uid) as (told, stdin):
            run_as(
                self.app,
                [UV, *words],
                what=what,
                cwd=os.path.join(self.code, directory),
                env={**self._environment, **(more or {}), **told},
                timeout=1800,
                stdin=stdin,
                writable=(self.venv,),
            )

    def take(self, step: Step, pins: dict[str, str]) -> None:
        """Run *step*; *pins* that it cannot keep leave them."""
        if step.tool:
            self._export(step)
        elif step.chooses and pins:
            self._install_pinned(step, pins)
        elif step.project:
            try:
                self._run(step)
            except CommandFailed as error:
                if not (several := _SEVERAL.search(error.output)):
                    raise
                self.warnings.append(
                    f"the code itself is not installed as a package, since its build says {several[0]!r}. Its "
                    "dependencies are installed, and it is imported from where it lies. To stop this warning, write "
                    "`package = false` below [tool.uv] in pyproject.toml"
                )
        else:
            self._run(step)

    def _run(self, step: Step, *words: str) -> None:
        self.uv(*step.words, *words, more=step.environment, directory=step.directory)

    def _install_pinned(self, step: Step, pins: dict[str, str]) -> None:
        given_up = 0
        while pins:
            constraints = f"{os.path.dirname(self.venv)}/pins.txt"
            content = "".join(f"{name}=={version}\n" for name, version in sorted(pins.items()))
            write_atomically(constraints, content, 0o440, pwd.getpwnam(self.app).pw_gid)
            try:
                self._run(step, "--constraint", constraints)
                return
            except CommandFailed as error:
                named = blamed(error.output, pins) if given_up < PINS_GIVEN_UP else []
                for name in named or sorted(pins):
                    given_up += 1
                    self.warnings.append(
                        f"{name}=={pins.pop(name)} of the live release has no build for this Python"
                    )
            finally:
                os.unlink(constraints)
        self._run(step)

    def _export(self, step: Step) -> None:
        """Have the tool that wrote a lock export it, in an installation that is gone afterwards."""
        tool, lock = dependency_files.tool_directory(self.venv), dependency_files.lock_of(step.tool)
        if not os.path.exists(lock):
            raise ReleaseError(
                "this host was set up by an earlier version of Emperor Stack: run site.yml first"
            )
        what = f"installing {step.tool}, which reads its lock"
        self.uv("venv", "--quiet", "--python", PYTHON, tool, what=what)
        install = ["pip", "install", "--quiet", "--require-hashes", "--python", f"{tool}/bin/python"]
        # It runs once: compiling all of its modules would take longer than all else.
        self.uv(*install, "-r", lock, what=what, more={"UV_COMPILE_BYTECODE": "0"})
        run_as(
            self.app,
            ["/bin/sh", "-ec", _EXPORT, "sh", dependency_files.exported(self.venv)]
            + [f"{tool}/bin/{step.tool}", *step.words],
            what=f"reading the lock of {step.tool}",
            cwd=os.path.join(self.code, step.directory),
            env={**self._environment, **_OF_TOOLS, "POETRY_CACHE_DIR": f"{tool}/cache"},
            timeout=600,
            writable=(self.venv,),
            shown_as=" ".join([step.tool, *step.words]),
        )

    def remove_tool(self) -> None:
        tool = dependency_files.tool_directory(self.venv)
        run_as(self.app, ["rm", "-rf", "--", tool], what="removing the tool", writable=(self.venv,))


#: $1 is the file, the rest the command. Indexes of a lock are left out: the host has its own, and the hashes hold anyway.
_EXPORT = r"""
to=$1
shift
"$@" >"$to.all"
grep -vE '^(-i |--(index-url|extra-index-url|find-links|trusted-host))' "$to.all" >"$to" || [ $? = 1 ]
"""

#: For tools that read locks: to look at nothing but the lock, to make no venv, and to say nothing of other things.
_OF_TOOLS = {
    "POETRY_VIRTUALENVS_CREATE": "false",
    "PDM_CHECK_UPDATE": "0",
    "PIPENV_IGNORE_VIRTUALENVS": "1",
    "PIPENV_VERBOSITY": "-1",
    "NO_COLOR": "1",
}


def build_venv(
    app: str,
    code: str,
    venv: str,
    wanted: Wanted,
    index: Mapping[str, str],
    python: str = PYTHON,
    pins: Mapping[str, str] | None = None,
    servers: Sequence[str] = (),
) -> list[str]:
    """Make *venv* with the interpreter *python* and fill it; return warnings. Raises CommandFailed and ReleaseError.

    *pins* (name → version) hold where the requirements leave a choice: what serves today goes to the next Python as it
    is. A pin that this Python has no build for is given up, with a warning. A lock has its own pins.
    """
    filling = _Filling(app, code, venv, index)
    uv_settings.close(UV)
    filling.uv("venv", "--quiet", "--python", python, venv, what="making the venv")
    kept = dict(pins or {})
    steps = dependency_files.steps(code, venv, wanted)
    for step in steps:
        try:
            filling.take(step, kept)
        except CommandFailed as error:
            if lacking := build_advice.advice(error.output):
                raise ReleaseError(f"{lacking}\n{error}") from error
            raise
    if any(step.tool for step in steps):
        filling.remove_tool()
    for server in servers:
        # A gunicorn that the requirements bring is the app's own choice, and stays.
        if server != ASGI_SERVER or not re.search(r"(?m)^gunicorn(==| @ )", freeze(app, venv)):
            words = ["pip", "install", "--python", f"{venv}/bin/python", server]
            filling.uv(*words, what=f"installing {server.partition('==')[0]}, the app's own server")
    return filling.warnings


def make(state: AppState, directory: str, key: str, build: Callable[[], list[str]]) -> list[str]:
    """The venv of the release in *directory*: that of an earlier release with the same *key*, else what *build* makes.

    Returns warnings. Raises ReleaseError and CommandFailed.
    """
    app = state.app
    account, venv = pwd.getpwnam(app), f"{directory}/venv"
    same = [m.release for m in state.manifests() if key and m.venv == key]
    if same:
        link_venv(layout.release(app, same[-1]), directory, account.pw_gid)
        disk_quota.count(venv, account.pw_uid)
        return []
    os.mkdir(venv)
    os.chown(venv, account.pw_uid, account.pw_gid)
    os.chmod(venv, 0o750)
    disk_quota.count(venv, account.pw_uid)
    warnings = build()
    # Sealed before the build: a venv holds what the requirements say. One that is linked has been sealed before.
    own(venv, 0, account.pw_gid, account.pw_uid, "venv")
    # For the day when another Python needs the same.
    lock = freeze(app, venv)
    write_atomically(f"{directory}/{LOCK}", lock, 0o440, account.pw_gid)
    return warnings


def blamed(output: str, pins: Mapping[str, str]) -> list[str]:
    """Those of *pins* whose exact version uv's error names, in the words that it chose."""
    named = {normal(name) for name in re.findall(r"([A-Za-z0-9][A-Za-z0-9._-]*)==", output)}
    return sorted(name for name in pins if name in named)


# What a venv holds


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def freeze(app: str, venv: str) -> str:
    """The venv's packages, one `name==version` a line. Raises CommandFailed."""
    return run_as(
        app,
        [UV, "pip", "freeze", "--python", f"{venv}/bin/python"],
        what="listing the venv's packages",
        whole=ANSWER,
        env=uv_environment(app, {}),
    )


def pinned(lock: Iterable[str]) -> dict[str, str]:
    """name → version of the lines of a lock; packages from elsewhere than an index are left out."""
    found = {}
    for line in lock:
        if match := re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.!+_-]+)", line.strip()):
            found[normal(match[1])] = match[2]
    found.pop(normal(OWN_SERVER.partition("==")[0]), None)
    return found


def pins_of(app: str, release: str) -> dict[str, str]:
    """What the venv of *release* holds; empty where no lock was written."""
    try:
        with open(f"{layout.release(app, release)}/{LOCK}", encoding="utf-8") as file:
            return pinned(file)
    except OSError:
        return {}
