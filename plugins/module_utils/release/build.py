"""Prepare a release on a host: fetch, venv, build, publish, seal, check. Nothing here touches what is live."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from ..files.atomic import write_atomically
from ..files.trees import own, sync
from ..host import disk_quota, layout
from ..host.command import CommandFailed
from ..host.masking import hide
from ..source import fetch
from ..systemd.app_process import run_as
from . import checks, dependency_files, environment, pythons
from . import venv as release_venv
from .dependency_files import Wanted
from .furnishing import furnish
from .lfs import check_pointers
from .migrations import migrations_digest
from .public import publish
from .spec import PlanSpec, ReleaseSpec
from .state import AppState, Manifest, now


def new_release_id(revision: str) -> str:
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{revision[:7]}"


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


def write_configuration(spec: ReleaseSpec, revision: str, release: str, gid: int) -> None:
    """Everything in a release that is neither code nor venv."""
    app = spec["name"]
    directory = layout.release(app, release)
    entry = environment.of_spec(spec, release, revision)
    write_atomically(f"{directory}/environment.json", json.dumps(entry, indent=1), 0o440, gid)
    for name in ("entry", "launch", "import_check"):
        write_atomically(f"{directory}/{name}.py", spec[name], 0o440, gid)
    for name, text in spec["server_files"].items():
        write_atomically(f"{directory}/{name}", fill(text, app, release), 0o440, gid)
    os.mkdir(layout.release_units(app, release), 0o700)
    for name, text in spec["units"].items():
        write_atomically(f"{layout.release_units(app, release)}/{name}", fill(text, app, release))


def wanted_python(spec: PlanSpec) -> str:
    """The minor version that the app asks for, else that of the host's own."""
    return str(spec.get("python") or release_venv.python_version())


@dataclass(frozen=True)
class _Interpreter:
    """The Python of a release: its minor version, its path, and the servers that go into the venv with it."""

    version: str
    path: str
    servers: tuple[str, ...]


def _interpreter(spec: ReleaseSpec, named: Mapping[str, str]) -> _Interpreter:
    """Raises ReleaseError when the host has no Python of the wanted version."""
    version = wanted_python(spec)
    is_the_hosts = version == release_venv.python_version()
    if is_the_hosts:
        # By its full name, which an upgrade of Debian leaves to it.
        path = pythons.of_debian(version) or release_venv.PYTHON
    else:
        path = release_venv.interpreter(spec["name"], version, named)
    return _Interpreter(version, path, release_venv.servers(not is_the_hosts, bool(spec.get("asgi"))))


def _pins(state: AppState, spec: PlanSpec, revision: str, python: str) -> dict[str, str]:
    """What the live release's venv holds, where nothing but the Python or its own uWSGI is to change; else nothing."""
    live = state.manifest(state.live_release() or "")
    if live is None or (live.python == python and not release_venv.is_outdated(live.own_server)):
        return {}
    if (live.revision, live.fingerprint) != (revision, spec["fingerprint"]):
        return {}
    return release_venv.pins_of(state.app, live.release)


def prepare(
    spec: ReleaseSpec,
    revision: str,
    release: str,
    index: Mapping[str, str],
    say: Callable[[str], None],
    interpreters: Mapping[str, str] | None = None,
) -> Manifest:
    """Make *release* of the app in *spec*, sealed and checked, and write its manifest last.

    *index* are variables for uv, *interpreters* the Pythons that the role variable names. *say* takes the name of each
    step, and warnings.

    Raises ReleaseError and CommandFailed; what it made by then is no release and goes with the next clean-up.
    """
    app = spec["name"]
    account = pwd.getpwnam(app)
    directory = layout.release(app, release)
    checks.check_space()
    checks.check_host(spec["server"])
    checks.check_calendar(spec["schedule"])
    os.mkdir(directory)
    os.chmod(directory, 0o711)
    python = _interpreter(spec, interpreters or {})
    hide((spec.get("secrets") or {}).values())

    say("fetch")
    _fetch(spec, revision, f"{directory}/code", index, account)
    write_configuration(spec, revision, release, account.pw_gid)
    say("venv")
    wanted = _wanted(spec, revision)
    key = _make_venv(spec, revision, release, index, say, python, wanted)
    say("build")
    _build(spec, release)
    say("seal")
    _seal(app, directory, account)
    check_pointers(f"{directory}/code")
    state = AppState(app)
    if state.live_release() is None:
        # What the app needs before it can be imported at all.
        for command in spec["hooks"].get("setup") or ():
            environment.run_line(app, release, command, "hook setup")
    say("check")
    migrations = _check(spec, directory, wanted, say)
    manifest = _manifest(spec, revision, release, python, key, migrations)
    say("sync")
    # The manifest says that all of the rest is there: after a power cut, too.
    sync(directory)
    return state.add(manifest)


def _fetch(
    spec: ReleaseSpec, revision: str, code: str, index: Mapping[str, str], account: pwd.struct_passwd
) -> None:
    """The source, with the app's `files` and persistent paths in it."""
    proxies = {
        scheme: index[name] for scheme in ("http", "https") if (name := f"{scheme.upper()}_PROXY") in index
    }
    fetch.fetch(spec, revision, code, proxies)
    disk_quota.count(code, account.pw_uid)
    own(code, account.pw_uid, account.pw_gid, account.pw_uid, "code")
    checks.check_python_path(code, spec.get("pythonpath") or ())
    persistent = spec["persistent_directories"], spec.get("persistent_files") or ()
    furnish(spec["name"], code, spec.get("files") or {}, *persistent)


def _wanted(spec: ReleaseSpec, revision: str) -> Wanted:
    """What is to be installed into the venv."""
    return Wanted(
        requirements=spec["requirements"],
        package=spec["source"].get("package"),
        extras=spec.get("extras") or (),
        groups=spec.get("groups") or (),
        version=fetch.version_of(spec["source"], revision),
    )


def _make_venv(
    spec: ReleaseSpec,
    revision: str,
    release: str,
    index: Mapping[str, str],
    say: Callable[[str], None],
    python: _Interpreter,
    wanted: Wanted,
) -> str:
    """Link an earlier release's venv with the same key, or build one. Returns the key."""
    app = spec["name"]
    directory = layout.release(app, release)
    code, venv = f"{directory}/code", f"{directory}/venv"
    notes = [*dependency_files.notes(code, wanted), dependency_files.version_note(code, python.version)]
    for note in filter(None, notes):
        say(f"warning: {note}")
    key = release_venv.venv_key(code, wanted, python.version, index, python.servers)
    state = AppState(app)
    pins = _pins(state, spec, revision, python.version)
    made = partial(release_venv.build_venv, app, code, venv, wanted, index, python.path, pins, python.servers)
    for warning in release_venv.make(state, directory, key, made):
        say(f"warning: {warning}")
    return key


def _build(spec: ReleaseSpec, release: str) -> None:
    """The app's own commands, between its hooks."""
    hooks = spec["hooks"]
    for what, commands in (
        ("hook before_prepare", hooks["before_prepare"]),
        ("build", spec["build"]),
        ("hook after_prepare", hooks["after_prepare"]),
    ):
        for command in commands:
            environment.run_line(spec["name"], release, command, what)


def _seal(app: str, directory: str, account: pwd.struct_passwd) -> None:
    """Compile the code, and take it away from the app's user."""
    code = f"{directory}/code"
    # Compiled now, since the running app cannot write here. A file that does not compile is the app's affair.
    with contextlib.suppress(CommandFailed):
        compiling = [f"{directory}/venv/bin/python", "-m", "compileall", "-q", "-j", "1", code]
        run_as(app, compiling, what="compiling", writable=(code,))
    own(code, 0, account.pw_gid, account.pw_uid, "code")


def _check(spec: ReleaseSpec, directory: str, wanted: Wanted, say: Callable[[str], None]) -> str:
    """Load the sealed release in its server, and publish its static files meanwhile. Returns the digest of migrations."""
    app, code = spec["name"], f"{directory}/code"
    with ThreadPoolExecutor(max_workers=1) as meanwhile:
        timeout = spec["health"]["timeout"]
        checked = meanwhile.submit(checks.check_server, spec["server"], app, directory, timeout)
        # Only now that the app's processes cannot change the code: what is copied here, nginx shows to everybody.
        for warning in publish(app, code, f"{directory}/public", spec["static_files"], f"{directory}/venv"):
            say(f"warning: {warning}")
        migrations = migrations_digest(code)
        try:
            checked.result()
        except CommandFailed as error:
            raise checks.lacks_dependencies(code, wanted, error) from error
    return migrations


def _manifest(
    spec: ReleaseSpec, revision: str, release: str, python: _Interpreter, venv: str, migrations: str
) -> Manifest:
    """The manifest of a release: its specification, and what became known when it was built."""
    return Manifest(
        app=spec["name"],
        release=release,
        revision=revision,
        version=fetch.version_of(spec["source"], revision),
        fingerprint=spec["fingerprint"],
        python=python.version,
        venv=venv,
        created=now(),
        health=spec["health"],
        host=spec["domains"][0],
        migrate=spec["migrate"],
        hooks={name: list(commands) for name, commands in spec["hooks"].items()},
        request_timeout=spec["limits"]["request_timeout"],
        on_demand=spec["on_demand"],
        migrations=migrations,
        server=spec["server"],
        own_server=release_venv.OWN_SERVER if release_venv.OWN_SERVER in python.servers else "",
        workers={
            name: {"count": worker["count"], "overlap": worker["overlap"]}
            for name, worker in spec["workers"].items()
        },
        schedule=sorted(spec["schedule"]),
        on_first=sorted(
            {
                name
                for kind in (spec["workers"], spec["schedule"])
                for name, one in kind.items()
                if one.get("run_on") == "first"
            }
        ),
        path=spec["path"],
        protocol="http" if spec.get("asgi") else "uwsgi",
        websocket_drain=spec["limits"]["websocket_drain"] if spec.get("asgi") else 0,
    )
