"""The venv of a release: which Python it is made with, what is installed into it, and what of it is remembered."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import pwd
import re
import stat
from collections.abc import Iterable, Mapping

from ..files.atomic import write_atomically
from ..files.copies import Mirror, made_directory
from ..files.reading import text
from ..files.trees import FILE, Entry, opened, walk
from ..host import layout
from ..host.command import ANSWER, CommandFailed, run
from ..host.release_error import ReleaseError
from ..systemd.app_process import run_as
from . import environment, uv_settings

#: Debian's. The host's uWSGI is an extension of it, so a venv that this serves must have the same minor version.
PYTHON = "/usr/bin/python3"
UV = f"{layout.LIBRARY}/tools/bin/uv"

#: uWSGI for the apps whose Python is not the host's: an extension of that Python, with the whole server in it.
OWN_SERVER = "pyuwsgi==2.0.30.post1"


#: What a venv holds, in the release's directory: the versions that the next Python gets.
LOCK = "requirements.lock"

#: Bytes of a file of a venv that may hold the venv's path; larger ones are programs.
LARGEST_SCRIPT = 1 << 20

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


def venv_steps(
    code: str, venv: str, requirements: str | None, files: set[str], package: str | None = None
) -> list[list[str]]:
    """The uv commands that fill *venv*: with *package*, or chosen by which of the *files* at the top of the code exist.

    `requirements` when it is named, else uv.lock, requirements.txt, pyproject.toml, in that order. Raises ReleaseError.
    """
    python = f"{venv}/bin/python"
    install = [UV, "pip", "install", "--python", python]
    if package is not None:
        if requirements is None:
            return [[*install, package]]
        path = f"{code}/{requirements}"
        # As constraints too: there uv finds the hash of a package that stands on the command line.
        more = ["--require-hashes", "-c", path] if _has_hashes(code, requirements) else []
        return [[*install, *more, package, "-r", path]]
    if requirements is None:
        requirements = next(
            (n for n in ("uv.lock", "requirements.txt", "pyproject.toml") if n in files), None
        )
        if requirements is None:
            return []
    path = f"{code}/{requirements}"
    if requirements.endswith("uv.lock"):
        return [
            [
                UV,
                "sync",
                "--frozen",
                "--no-dev",
                "--no-editable",
                "--active",
                "--project",
                os.path.dirname(path),
            ]
        ]
    if requirements.endswith("pyproject.toml"):
        return [[*install, os.path.dirname(path)]]
    hashes = ["--require-hashes"] if _has_hashes(code, requirements) else []
    return [[*install, *hashes, "-r", path]]


def _has_hashes(code: str, requirements: str) -> bool:
    content = text(code, requirements)
    if content is None:
        name = os.path.basename(requirements)
        raise ReleaseError(f"the source has no {name}. Correct `requirements:` of the app.")
    return any("--hash=" in line.partition("#")[0] for line in content.splitlines())


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


def venv_key(
    code: str, requirements: str | None, python: str, index: Mapping[str, str], package: str | None = None
) -> str:
    """A digest of all that decides what the venv holds; empty where that cannot be told without building it."""
    if package is not None:
        return ""
    files = set(os.listdir(code))
    if requirements is None:
        requirements = "" if "uv.lock" in files or "requirements.txt" not in files else "requirements.txt"
    content = text(code, requirements) if requirements.endswith(".txt") else None
    if content is None or not is_exact(content):
        return ""
    # A password decides nothing, and the manifest holds this digest.
    plain, _ = uv_settings.split(index)
    parts = [content, python, os.path.realpath(UV), OWN_SERVER, json.dumps(plain, sort_keys=True)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def link_venv(old: str, new: str, gid: int) -> None:
    """Give release directory *new* the venv and the lock of *old*: by hard links to files that are root's and never change.

    Files that hold the venv's own path are written anew. All of it is root's and *gid*'s, as it is in *old*.
    Raises ReleaseError.
    """
    with contextlib.ExitStack() as stack:
        source, target = (stack.enter_context(opened(place)) for place in (old, new))
        os.close(made_directory(target, "venv", gid))
        mirror = stack.enter_context(Mirror(stack.enter_context(opened(f"{new}/venv")), gid))
        for entry in walk(stack.enter_context(opened(f"{old}/venv")), "venv"):
            kind, directory = entry.status.st_mode, mirror.directory(entry)
            if stat.S_ISDIR(kind):
                mirror.make(entry)
            elif stat.S_ISLNK(kind):
                os.symlink(os.readlink(entry.name, dir_fd=entry.directory), entry.name, dir_fd=directory)
                os.chown(entry.name, -1, gid, dir_fd=directory, follow_symlinks=False)
            elif stat.S_ISREG(kind) and _may_hold_path(entry):
                _copy_with_path(entry, directory, gid, f"{old}/venv".encode(), f"{new}/venv".encode())
            elif stat.S_ISREG(kind):
                _link(entry.name, entry.directory, directory)
        with contextlib.suppress(FileNotFoundError):
            _link(LOCK, source, target)


def _link(name: str, source: int, target: int) -> None:
    os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)


def _may_hold_path(entry: Entry) -> bool:
    """Whether a file of a venv is a script or a setting, which name the venv that they are of."""
    in_bin = entry.path == f"bin/{entry.name}"
    return (in_bin or entry.name.endswith((".pth", ".cfg"))) and entry.status.st_size <= LARGEST_SCRIPT


def _copy_with_path(entry: Entry, directory: int, gid: int, old: bytes, new: bytes) -> None:
    with open(os.open(entry.name, FILE, dir_fd=entry.directory), "rb") as file:
        content = file.read(LARGEST_SCRIPT)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(entry.name, flags, 0o600, dir_fd=directory), "wb") as file:
        os.fchown(file.fileno(), -1, gid)
        os.fchmod(file.fileno(), stat.S_IMODE(entry.status.st_mode))
        file.write(content.replace(old, new))
        file.flush()
        os.utime(file.fileno(), ns=(entry.status.st_atime_ns, entry.status.st_mtime_ns))


def build_venv(
    app: str,
    code: str,
    venv: str,
    requirements: str | None,
    index: Mapping[str, str],
    package: str | None = None,
    python: str = PYTHON,
    pins: Mapping[str, str] | None = None,
    own_server: bool = False,
) -> list[str]:
    """Make *venv* with the interpreter *python* and fill it; return warnings. Raises CommandFailed and ReleaseError.

    *pins* (name → version) hold where the requirements leave a choice: what serves today goes to the next Python as it
    is. A pin that this Python has no build for is given up, with a warning.
    """
    plain, private = uv_settings.split(index)
    env = {**uv_environment(app, plain), "VIRTUAL_ENV": venv, "UV_PROJECT_ENVIRONMENT": venv}
    what = "installing the requirements"
    uid = pwd.getpwnam(app).pw_uid
    uv_settings.close(UV)

    def uv(*words: str, what: str = what, timeout: float = 1800) -> str:
        with uv_settings.told(private, uid) as (more, stdin):
            return run_as(
                app,
                [UV, *words],
                what=what,
                cwd=code,
                env={**env, **more},
                timeout=timeout,
                stdin=stdin,
                writable=(venv,),
            )

    uv("venv", "--quiet", "--python", python, venv, what="making the venv")
    warnings: list[str] = []
    kept = dict(pins or {})
    for step in venv_steps(code, venv, requirements, set(os.listdir(code)), package):
        # uv.lock has its own pins, and `uv sync` takes no others.
        while kept and step[1] == "pip":
            constraints = f"{os.path.dirname(venv)}/pins.txt"
            content = "".join(f"{name}=={version}\n" for name, version in sorted(kept.items()))
            write_atomically(constraints, content, 0o440, pwd.getpwnam(app).pw_gid)
            try:
                uv(*step[1:], "--constraint", constraints)
                break
            except CommandFailed as error:
                given_up = blamed(error.output, kept) if len(warnings) < PINS_GIVEN_UP else []
                for name in given_up or sorted(kept):
                    warnings.append(
                        f"{name}=={kept.pop(name)} of the live release has no build for this Python"
                    )
            finally:
                os.unlink(constraints)
        else:
            uv(*step[1:])
    if own_server:
        uv(
            "pip",
            "install",
            "--python",
            f"{venv}/bin/python",
            OWN_SERVER,
            what="installing the app's own uWSGI",
        )
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
