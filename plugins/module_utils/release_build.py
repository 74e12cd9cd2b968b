"""Prepare a release on a host: fetch, venv, build, publish, seal, check. Nothing here touches what is live."""

from __future__ import annotations

import contextlib
import grp
import hashlib
import json
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from . import layout
from .host_command import CommandFailed, run, run_shell
from .release_state import AppState, Manifest, now, write_atomically

#: The interpreter of Debian's uWSGI plugin: a venv must have the same minor version.
PYTHON = "/usr/bin/python3"
UV = f"{layout.LIBRARY}/tools/bin/uv"
UWSGI = "/usr/bin/uwsgi"

#: The first gunicorn whose uwsgi protocol leaves bodies without a length whole, and reads requests that come in parts.
LEAST_GUNICORN = (27, 0)

#: Free bytes and inodes without which a build is not begun: a full disk would hurt the live releases too.
NEEDED_BYTES = 300 * 1024 * 1024
NEEDED_INODES = 20_000


class ReleaseError(Exception):
    """The release cannot be made. The message says what to do about it."""


def python_version() -> str:
    return run([PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], what="python3").strip()


def new_release_id(revision: str) -> str:
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{revision[:7]}"


# Where the code comes from


@contextlib.contextmanager
def _git_environment(source: Mapping[str, Any], key: str | None) -> Iterator[dict[str, str]]:
    """Variables for git as root: no prompt, no configuration but ours, the app's deploy key and known hosts."""
    with tempfile.TemporaryDirectory(prefix="emperor-stack-git-") as directory:
        ssh = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"]
        if source.get("known_hosts"):
            path = f"{directory}/known_hosts"
            write_atomically(path, source["known_hosts"].rstrip("\n") + "\n")
            ssh += ["-o", f"UserKnownHostsFile={path}", "-o", "StrictHostKeyChecking=yes"]
        else:
            ssh += ["-o", "StrictHostKeyChecking=accept-new"]
        if key:
            path = f"{directory}/key"
            write_atomically(path, key.rstrip("\n") + "\n")
            ssh += ["-i", path, "-o", "IdentitiesOnly=yes"]
        yield {
            "GIT_SSH_COMMAND": " ".join(ssh),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "HOME": directory,
            # A repository on this host's disk belongs to somebody else; reading it is what was asked for.
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
        }


def is_commit(version: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{40}", version) is not None


def resolve_git(source: Mapping[str, Any], key: str | None) -> str:
    """The commit that `version` (branch, tag or full commit id) names in the remote now. Raises ReleaseError."""
    version = source["version"]
    if is_commit(version):
        return str(version)
    with _git_environment(source, key) as env:
        try:
            listing = run(
                ["git", "ls-remote", "--", source["git"], version, f"{version}^{{}}"],
                what=f"asking {source['git']} for {version}",
                env=env,
                timeout=120,
            )
        except CommandFailed as error:
            raise ReleaseError(
                f"{error}\nIs source.git right, can this host reach it, and may source.key read it?"
            ) from error
    return pick_reference(listing, version, source["git"])


def pick_reference(listing: str, version: str, url: str) -> str:
    """The commit of *version* in what `git ls-remote` printed: a tag before a branch, the commit a tag points at."""
    references = {}
    for line in listing.splitlines():
        commit, _, name = line.partition("\t")
        if re.fullmatch(r"[0-9a-f]{40}", commit):
            references[name] = commit
    for name in (
        f"refs/tags/{version}^{{}}",
        f"refs/tags/{version}",
        f"refs/heads/{version}",
        f"{version}^{{}}",
        version,
    ):
        if name in references:
            return references[name]
    raise ReleaseError(
        f"{url} has no branch or tag {version}. Push it, or correct source.version "
        "(a branch, a tag, or a full commit id of 40 digits)."
    )


def fetch_git(app: str, source: Mapping[str, Any], key: str | None, commit: str, code: str) -> None:
    """Bring *commit* into the directory *code*; objects stay in the app's bare repository for the next time."""
    repository = f"{layout.app_root(app)}/repo.git"
    with _git_environment(source, key) as env:
        if not os.path.isdir(repository):
            partial = f"{repository}.new"
            shutil.rmtree(partial, ignore_errors=True)
            run(["git", "init", "--quiet", "--bare", partial], what="git init", env=env)
            os.chmod(partial, 0o700)
            os.rename(partial, repository)
        git = ["git", "--git-dir", repository]
        # Locks of a git that was killed; it has the app's repository to itself while the phase runs.
        for left in ("shallow.lock", "packed-refs.lock", f"refs/emperor-stack/{commit}.lock"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{repository}/{left}")
        if not _has_commit(git, commit, env):
            fetch = [*git, "fetch", "--quiet", "--no-tags", "--force"]
            # By its id first: one commit and no history. Servers may refuse that; then all branches and tags.
            try:
                run(
                    [*fetch, "--depth=1", "--", source["git"], commit],
                    what="git fetch",
                    env=env,
                    timeout=600,
                )
            except CommandFailed:
                run(
                    [*fetch, "--", source["git"], "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"],
                    what=f"fetching {source['git']}",
                    env=env,
                    timeout=600,
                )
        if not _has_commit(git, commit, env):
            raise ReleaseError(f"{source['git']} has no commit {commit}. Is it pushed?")
        # A reference keeps the commit from being collected as garbage.
        run([*git, "update-ref", f"refs/emperor-stack/{commit}", commit], what="git update-ref", env=env)
        os.mkdir(code)
        with tempfile.TemporaryDirectory(prefix="emperor-stack-index-") as directory:
            run(
                [*git, "--work-tree", code, "checkout", "--quiet", "--force", commit, "--", "."],
                what=f"checking out {commit}",
                env={**env, "GIT_INDEX_FILE": f"{directory}/index"},
            )


def _has_commit(git: list[str], commit: str, env: Mapping[str, str]) -> bool:
    try:
        run([*git, "cat-file", "-e", f"{commit}^{{tree}}"], what="git cat-file", env=env)
    except CommandFailed:
        return False
    return True


def unpack(app: str, archive: str, code: str) -> None:
    """Unpack the tar file that the controller made of its directory: as the app's user, who can harm nobody else."""
    account = pwd.getpwnam(app)
    os.mkdir(code, 0o750)
    os.chown(code, account.pw_uid, account.pw_gid)
    with open(archive, "rb") as file:
        run(
            ["tar", "--extract", "--gzip", "--no-same-owner", "--no-same-permissions", f"--directory={code}"],
            what="unpacking the source",
            user=app,
            stdin=file,
        )


# Ownership


def own_tree(top: str, uid: int, gid: int, keep_group_write: bool = False) -> None:
    """Give the tree at *top* to uid:gid, closed to others; links themselves, never what they point at.

    Without *keep_group_write* the group may read it only (execute bits stay).
    """
    _own(top, None, uid, gid, keep_group_write)
    # Never by a path: the app's own processes may put a link into the way meanwhile.
    for _, names, files, directory in os.fwalk(top, follow_symlinks=False):
        for name in [*names, *files]:
            _own(name, directory, uid, gid, keep_group_write)


def _own(name: str, directory: int | None, uid: int, gid: int, keep_group_write: bool) -> None:
    os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)
    kind = os.lstat(name, dir_fd=directory).st_mode
    if not (stat.S_ISDIR(kind) or stat.S_ISREG(kind)):
        return
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    try:
        mode = os.fstat(descriptor).st_mode
        wanted = 0o750 if stat.S_ISDIR(mode) or mode & 0o100 else 0o640
        if keep_group_write:
            wanted |= 0o200
        if stat.S_IMODE(mode) != wanted:
            os.fchmod(descriptor, wanted)
    finally:
        os.close(descriptor)


def _walk(top: str) -> Iterator[str]:
    yield top
    for directory, names, files in os.walk(top):
        for name in [*names, *files]:
            yield os.path.join(directory, name)


#: $1 is the path in the code, $2 the persistent directory. The group of what is copied is left to the directory, which
#: may give its files to nginx.
_LINK_PERSISTENT = """
if [ -d "$1" ] && [ ! -L "$1" ]; then
    [ -n "$(ls -A "$2")" ] || cp -RP --preserve=mode,timestamps "$1/." "$2/"
fi
rm -rf "$1"
mkdir -p "$(dirname "$1")"
ln -s "$2" "$1"
"""


def link_persistent(app: str, directories: Iterable[Mapping[str, Any]], code: str) -> None:
    """Put a link to the app's persistent directory in the place of each `persistent` path of the code.

    What the source has there seeds the persistent directory while that is still empty. All of it as the app's user, who
    owns both places and could put a link into root's way. Raises CommandFailed.
    """
    for directory in directories:
        path = directory["path"]
        run(
            ["/bin/sh", "-ec", _LINK_PERSISTENT, "sh", f"{code}/{path}", f"{layout.shared(app)}/{path}"],
            what=f"linking the persistent {path}",
            user=app,
            shown_as=f"ln -s {layout.shared(app)}/{path} {path}",
        )


# The venv


def uv_environment(app: str, index: Mapping[str, str]) -> dict[str, str]:
    cache = layout.cache(app)
    return {
        "HOME": cache,
        "UV_CACHE_DIR": f"{cache}/uv",
        # The venv becomes root's: a hard link would take the cached file away from the app's user.
        "UV_LINK_MODE": "copy",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
        "UV_SYSTEM_CERTS": "1",
        "UV_COMPILE_BYTECODE": "1",
        **index,
    }


def venv_steps(code: str, venv: str, requirements: str | None, files: set[str]) -> list[list[str]]:
    """The uv commands that fill *venv*, chosen by which of the *files* at the top of the code exist.

    `requirements` when it is named, else uv.lock, requirements.txt, pyproject.toml, in that order. Raises ReleaseError.
    """
    python = f"{venv}/bin/python"
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
        return [[UV, "pip", "install", "--python", python, os.path.dirname(path)]]
    hashes = ["--require-hashes"] if _has_hashes(path) else []
    return [[UV, "pip", "install", "--python", python, *hashes, "-r", path]]


def _has_hashes(path: str) -> bool:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return any("--hash=" in line.partition("#")[0] for line in file)
    except FileNotFoundError:
        name = os.path.basename(path)
        raise ReleaseError(f"the source has no {name}. Correct `requirements:` of the app.") from None


_EXACT = re.compile(r"[A-Za-z0-9][\w.-]*(\[[\w., -]*\])?\s*===?\s*[\w.!+-]+\s*(;[^#]*)?(\s+--hash=\S+)*\s*")


def is_exact(requirements: str) -> bool:
    """Whether a requirements file names a version for every package and nothing but packages of an index.

    Such a file always gives the same venv; one that says `django>=5`, `-e .` or `-r other.txt` may not.
    """
    lines = re.sub(r"\\\n", " ", requirements).splitlines()
    wanted = [line.partition(" #")[0].strip() for line in lines if not line.lstrip().startswith("#")]
    return all(_EXACT.fullmatch(line) for line in wanted if line)


def venv_key(code: str, requirements: str | None, python: str, index: Mapping[str, str]) -> str:
    """A digest of all that decides what the venv holds; empty where that cannot be told without building it."""
    files = set(os.listdir(code))
    if requirements is None:
        requirements = "" if "uv.lock" in files or "requirements.txt" not in files else "requirements.txt"
    if not requirements.endswith(".txt") or not os.path.isfile(f"{code}/{requirements}"):
        return ""
    with open(f"{code}/{requirements}", encoding="utf-8") as file:
        content = file.read()
    if not is_exact(content):
        return ""
    parts = [content, python, os.path.realpath(UV), json.dumps(dict(index), sort_keys=True)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def link_venv(old: str, new: str) -> None:
    """Make *new* a copy of the venv *old*: hard links to its files, which are root's and never change.

    Files that hold the venv's own path are written anew.
    """
    for directory, names, files in os.walk(old):
        target = new + directory.removeprefix(old)
        os.makedirs(target, mode=0o750, exist_ok=True)
        for name in [*names, *files]:
            source = f"{directory}/{name}"
            if os.path.islink(source):
                os.symlink(os.readlink(source), f"{target}/{name}")
            elif name in files:
                if directory == f"{old}/bin" or name.endswith((".pth", ".cfg")):
                    _copy_with_path(source, f"{target}/{name}", old, new)
                else:
                    os.link(source, f"{target}/{name}")


def _copy_with_path(source: str, target: str, old: str, new: str) -> None:
    with open(source, "rb") as file:
        content = file.read()
    with open(target, "wb") as file:
        file.write(content.replace(old.encode(), new.encode()))
    shutil.copystat(source, target)


def build_venv(app: str, code: str, venv: str, requirements: str | None, index: Mapping[str, str]) -> None:
    env = {**uv_environment(app, index), "VIRTUAL_ENV": venv, "UV_PROJECT_ENVIRONMENT": venv}
    run(
        [UV, "venv", "--quiet", "--python", PYTHON, venv],
        what="making the venv",
        user=app,
        cwd=code,
        env=env,
    )
    for step in venv_steps(code, venv, requirements, set(os.listdir(code))):
        run(step, what="installing the requirements", user=app, cwd=code, env=env, timeout=1800)


# The app's own environment


def app_environment(app: str, release: str, revision: str, declared: Mapping[str, str]) -> dict[str, str]:
    """What every process of the release sees: the app's env and secrets, and what the platform says."""
    return {
        **declared,
        "APP_NAME": app,
        "APP_RELEASE": release,
        "APP_REVISION": revision,
        "LANG": "C.UTF-8",
        "PYTHONUTF8": "1",
    }


def command_environment(app: str, release: str) -> dict[str, str]:
    """The environment for a command of the app: its own, and the venv's programs first on the path."""
    directory = layout.release(app, release)
    with open(f"{directory}/environment.json", encoding="utf-8") as file:
        declared = dict(json.load(file)["environment"])
    return {
        **declared,
        "HOME": layout.cache(app),
        "USER": app,
        "LOGNAME": app,
        "VIRTUAL_ENV": f"{directory}/venv",
        "PATH": f"{directory}/venv/bin:/usr/local/bin:/usr/bin:/bin",
    }


def run_app_command(app: str, release: str, command: str, what: str, timeout: float = 1800) -> str:
    """Run a command line of the app in the release's code directory, as the app's user. Raises CommandFailed."""
    return run_shell(
        command,
        what=what,
        user=app,
        cwd=f"{layout.release(app, release)}/code",
        env=command_environment(app, release),
        timeout=timeout,
    )


# Publishing and checking


def publish(app: str, code: str, public: str, files: Iterable[Mapping[str, Any]]) -> None:
    """Copy the static files to where nginx reads them, laid out as their URLs: root's, readable by nginx alone.

    A persistent directory is linked instead. Links inside the source are not followed out of it. Raises ReleaseError.
    """
    front = grp.getgrnam(layout.FRONT_USER).gr_gid
    os.mkdir(public)
    for item in files:
        source = os.path.realpath(f"{code}/{item['path']}")
        destination = public + item["url"].rstrip("/")
        os.makedirs(os.path.dirname(destination), exist_ok=True)
        if item["persistent"]:
            os.symlink(f"{layout.shared(app)}/{item['path']}", destination)
            continue
        if os.path.commonpath([source, os.path.realpath(code)]) != os.path.realpath(code):
            raise ReleaseError(f"static {item['url']}: {item['path']} is a link that leads out of the source")
        present = os.path.isdir(source) if item["directory"] else os.path.isfile(source)
        if not present:
            kind = "directory" if item["directory"] else "file"
            raise ReleaseError(
                f"static {item['url']}: the release has no {kind} {item['path']} after its build. "
                "Correct `static:`, or add the `build:` command that makes it."
            )
        if item["directory"]:
            shutil.copytree(source, destination, ignore=_links, dirs_exist_ok=True)
        else:
            shutil.copy2(source, destination)
    own_tree(public, 0, front)


def _links(directory: str, names: list[str]) -> list[str]:
    """Links are not published: one that leads out of the directory would open what is behind it."""
    return [name for name in names if os.path.islink(f"{directory}/{name}")]


def check_import(app: str, directory: str, timeout: float) -> None:
    """Import the app as its user, in its venv and environment, as the vassal will.

    The entry refuses a module that comes from another release. Raises CommandFailed.
    """
    run(
        [f"{directory}/venv/bin/python", "-B", f"{directory}/entry.py", "--check"],
        what="importing the app",
        user=app,
        cwd=f"{directory}/code",
        env={"HOME": layout.cache(app)},
        timeout=timeout,
        shown_as="python entry.py --check",
    )


def check_vassal(app: str, directory: str, timeout: float) -> None:
    """Let uWSGI read the vassal's config and load the app without serving it. Raises CommandFailed."""
    run(
        [UWSGI, "--ini", f"{directory}/vassal.ini", "--no-server"],
        what="loading the app in uWSGI",
        user=app,
        cwd=f"{directory}/code",
        env={"HOME": layout.cache(app)},
        timeout=timeout,
        shown_as="uwsgi --ini vassal.ini --no-server",
    )


def check_gunicorn(app: str, directory: str, timeout: float) -> None:
    """Whether the venv has a gunicorn that can serve here, and whether it takes its configuration.

    Raises ReleaseError and CommandFailed.
    """
    python = f"{directory}/venv/bin/python"
    probe = (
        "import importlib.metadata as m; print(*[d.version for d in m.distributions(name='gunicorn')][:1])"
    )
    found = run([python, "-I", "-c", probe], what="looking for gunicorn", user=app, timeout=timeout).strip()
    least = ".".join(str(part) for part in LEAST_GUNICORN)
    if not found:
        raise ReleaseError(
            f"server: gunicorn is taken from the app's own venv, and that has none: add gunicorn>={least} to its "
            "requirements"
        )
    if tuple(int(part) for part in re.findall(r"\d+", found)[:2]) < LEAST_GUNICORN:
        raise ReleaseError(
            f"the app's requirements bring gunicorn {found}, which garbles answers over the uwsgi protocol: ask for "
            f"gunicorn>={least}"
        )
    run(
        [f"{directory}/venv/bin/python", "-B", "-m", "gunicorn", "--check-config"]
        + ["--config", f"{directory}/gunicorn.conf.py"],
        what="loading the app in gunicorn",
        user=app,
        cwd=f"{directory}/code",
        env={"HOME": layout.cache(app)},
        timeout=timeout,
        shown_as="gunicorn --check-config",
    )


def check_server(server: str, app: str, directory: str, timeout: float) -> None:
    check = check_vassal if server == "uwsgi" else check_gunicorn
    check(app, directory, timeout)


def check_calendar(schedule: Mapping[str, Mapping[str, Any]]) -> None:
    """Let systemd read the calendar expressions of the schedule. Raises ReleaseError."""
    for name, job in schedule.items():
        if job["at"]:
            try:
                run(["systemd-analyze", "calendar", job["at"]], what="systemd-analyze", timeout=30)
            except CommandFailed as error:
                raise ReleaseError(f"schedule.{name}.at: systemd cannot read it: {error.output}") from error


def migrations_digest(code: str) -> str:
    """A digest of the migration files (Django's `migrations/`, Alembic's `versions/`): it changes when a migration comes."""
    digest = hashlib.sha256()
    for directory, names, files in os.walk(code):
        names.sort()
        if os.path.basename(directory) in ("migrations", "versions"):
            for name in sorted(files):
                if name.endswith((".py", ".sql")) and os.path.isfile(f"{directory}/{name}"):
                    digest.update(os.path.relpath(f"{directory}/{name}", code).encode() + b"\0")
                    with open(f"{directory}/{name}", "rb") as file:
                        digest.update(hashlib.sha256(file.read()).digest())
    return digest.hexdigest()[:16]


def check_space() -> None:
    space = os.statvfs(layout.APPS)
    free = space.f_bavail * space.f_frsize
    if free < NEEDED_BYTES:
        raise ReleaseError(
            f"{layout.APPS} has {free // 2**20} MiB left and a build wants {NEEDED_BYTES // 2**20}. "
            "Free some, or lower python_apps_keep_releases."
        )
    if space.f_files > 0 and space.f_favail < NEEDED_INODES:
        raise ReleaseError(
            f"{layout.APPS} has {space.f_favail} inodes left and a build wants {NEEDED_INODES}."
        )


def fill(template: str, app: str, release: str) -> str:
    """Put the release into a text that the controller rendered before the release had a name and its host was asked."""
    known = {
        "@RELEASE_DIRECTORY@": layout.release(app, release),
        "@RELEASE@": release,
        "@PROCESSES@": str(processes_of(app)),
    }
    for mark, text in known.items():
        template = template.replace(mark, text)
    return template


def processes_of(app: str) -> int:
    """How many processes the host's last `site.yml` found that *app* may have; 1 where it has not seen the app."""
    try:
        with open(layout.SIZES, encoding="utf-8") as file:
            return int(json.load(file).get(app, 1))
    except (FileNotFoundError, ValueError):
        return 1


def write_configuration(
    spec: Mapping[str, Any], release: str, environment: Mapping[str, str], gid: int
) -> None:
    """Everything in a release that is neither code nor venv."""
    app = spec["name"]
    directory = layout.release(app, release)
    processes = {**spec["workers"], **spec["schedule"]}
    entry = {
        "environment": environment,
        "wsgi": spec["wsgi"],
        "paste": spec["paste"],
        "app": {"name": app, "home": layout.cache(app)},
        "commands": {name: process["command"] for name, process in processes.items()},
        "secrets": list(spec["secrets"]),
    }
    write_atomically(f"{directory}/environment.json", json.dumps(entry, indent=1), 0o440, gid)
    for name in ("entry", "launch"):
        write_atomically(f"{directory}/{name}.py", spec[name], 0o440, gid)
    for name, text in spec["server_files"].items():
        write_atomically(f"{directory}/{name}", fill(text, app, release), 0o440, gid)
    os.mkdir(layout.release_units(app, release), 0o700)
    for name, text in spec["units"].items():
        write_atomically(f"{layout.release_units(app, release)}/{name}", fill(text, app, release))


def prepare(
    spec: Mapping[str, Any],
    revision: str,
    release: str,
    index: Mapping[str, str],
    say: Callable[[str], None],
) -> Manifest:
    """Make *release* of the app in *spec*, sealed and checked, and write its manifest last.

    Raises ReleaseError and CommandFailed; what it made by then is no release and goes with the next clean-up.
    """
    app = spec["name"]
    account = pwd.getpwnam(app)
    directory = layout.release(app, release)
    code, venv = f"{directory}/code", f"{directory}/venv"
    check_space()
    os.mkdir(directory)
    os.chmod(directory, 0o711)
    hooks = spec["hooks"]

    say("fetch")
    if spec["source"].get("git"):
        fetch_git(app, spec["source"], spec.get("key"), revision, code)
    else:
        unpack(app, spec["archive"], code)
    own_tree(code, account.pw_uid, account.pw_gid, keep_group_write=True)
    link_persistent(app, spec["persistent_directories"], code)

    environment = app_environment(app, release, revision, spec["environment"])
    write_configuration(spec, release, environment, account.pw_gid)

    say("venv")
    python = python_version()
    key = venv_key(code, spec["requirements"], python, index)
    same = [m.release for m in AppState(app).manifests() if key and m.venv == key]
    if same:
        link_venv(f"{layout.release(app, same[-1])}/venv", venv)
    else:
        os.mkdir(venv)
        os.chown(venv, account.pw_uid, account.pw_gid)
        os.chmod(venv, 0o750)
        build_venv(app, code, venv, spec["requirements"], index)
    # Sealed before the build: a venv holds what the requirements say, whether it is new or linked.
    own_tree(venv, 0, account.pw_gid)

    say("build")
    for what, commands in (
        ("hook before_prepare", hooks["before_prepare"]),
        ("build", spec["build"]),
        ("hook after_prepare", hooks["after_prepare"]),
    ):
        for command in commands:
            run_app_command(app, release, command, what)
    # Compiled now, since the running app cannot write here. A file that does not compile is the app's affair.
    subprocess.run(
        ["setpriv", f"--reuid={app}", f"--regid={app}", "--clear-groups", f"{venv}/bin/python"]
        + ["-m", "compileall", "-q", "-j", "1", code],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )

    say("seal")
    own_tree(code, 0, account.pw_gid)
    # Only now that the app's processes cannot change the code: what is copied here, nginx shows to everybody.
    publish(app, code, f"{directory}/public", spec["static_files"])

    say("check")
    check_import(app, directory, spec["health"]["timeout"])
    check_server(spec["server"], app, directory, spec["health"]["timeout"])
    check_calendar(spec["schedule"])

    manifest = Manifest(
        app=app,
        release=release,
        revision=revision,
        version=str(spec["source"].get("version") or revision),
        fingerprint=spec["fingerprint"],
        python=python,
        venv=key,
        created=now(),
        health=dict(spec["health"]),
        host=spec["domains"][0],
        migrate=spec["migrate"],
        hooks={name: list(commands) for name, commands in hooks.items()},
        request_timeout=spec["limits"]["request_timeout"],
        on_demand=spec["on_demand"],
        migrations=migrations_digest(code),
        server=spec["server"],
        workers={
            name: {key: worker[key] for key in ("count", "overlap")}
            for name, worker in spec["workers"].items()
        },
        schedule=sorted(spec["schedule"]),
    )
    AppState(app).save(manifest)
    return manifest
