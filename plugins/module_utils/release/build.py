"""Prepare a release on a host: fetch, venv, build, publish, seal, check. Nothing here touches what is live."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ..files.atomic import write_atomically
from ..files.reading import is_directory
from ..files.trees import own, sync
from ..host import disk_quota, layout
from ..host.command import ANSWER, CommandFailed, TimedOut, run
from ..host.masking import hide
from ..host.release_error import ReleaseError
from ..source import fetch
from ..systemd.app_process import run_as
from ..uwsgi import emperor_check
from . import dependency_files, environment
from . import venv as release_venv
from .dependency_files import Wanted
from .furnishing import furnish
from .lfs import check_pointers
from .migrations import migrations_digest
from .public import publish
from .spec import Job, PlanSpec, ReleaseSpec
from .state import AppState, Manifest, now

#: Makes uWSGI of a Python; see its own text.
START_UWSGI = f"{layout.LIBRARY}/start-uwsgi"

#: The first gunicorn whose uwsgi protocol leaves bodies without a length whole, and reads requests that come in parts.
LEAST_GUNICORN = (27, 0)

#: Free bytes and inodes without which a build is not begun: a full disk would hurt the live releases too.
NEEDED_BYTES = 300 * 1024 * 1024
NEEDED_INODES = 20_000


def new_release_id(revision: str) -> str:
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{revision[:7]}"


# Checking


def check_import(app: str, directory: str, timeout: float) -> None:
    """Import the app as its user, in its venv and environment, as the server will. Raises CommandFailed."""
    run_as(
        app,
        environment.launched(
            directory, [f"{directory}/venv/bin/python", "-B", f"{directory}/entry.py", "--check"]
        ),
        what="importing the app",
        cwd=f"{directory}/code",
        timeout=timeout,
        shown_as="python entry.py --check",
    )


#: Has entry.py look at the app as `--check` does, where a server that loads it has the arguments.
_CHECKING = {"EMPEROR_STACK_CHECK": "1"}


def check_vassal(app: str, directory: str, timeout: float) -> None:
    """Let uWSGI read the vassal's config and load the app without serving it. Raises ReleaseError and CommandFailed."""
    command = [f"{directory}/venv/bin/python", START_UWSGI, "--ini", f"{directory}/vassal.ini"]
    # Without a socket, which it gets from the emperor otherwise, uWSGI has no process, and so nothing that needs an app.
    command += ["--socket", "127.0.0.1:0", "--no-server"]
    run_as(
        app,
        environment.launched(directory, command),
        what="loading the app in uWSGI",
        cwd=f"{directory}/code",
        env={**_CHECKING, **emperor_check.environment()},
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
    what = "looking for gunicorn"
    found = run_as(app, [python, "-I", "-c", probe], what=what, timeout=timeout, whole=ANSWER).strip()
    least = ".".join(str(part) for part in LEAST_GUNICORN)
    if not found:
        raise ReleaseError(
            f"server: gunicorn comes from the app's own venv, which has none: add gunicorn>={least} to "
            "its requirements"
        )
    if tuple(int(part) for part in re.findall(r"\d+", found)[:2]) < LEAST_GUNICORN:
        raise ReleaseError(
            f"the app's requirements bring gunicorn {found}, which corrupts answers over the uwsgi "
            f"protocol: require gunicorn>={least}"
        )
    command = [f"{directory}/venv/bin/python", "-B", "-m", "gunicorn", "--check-config"]
    run_as(
        app,
        environment.launched(directory, [*command, "--config", f"{directory}/gunicorn.conf.py"]),
        what="loading the app in gunicorn",
        cwd=f"{directory}/code",
        env=_CHECKING,
        timeout=timeout,
        shown_as="gunicorn --check-config",
    )


def check_server(server: str, app: str, directory: str, timeout: float) -> None:
    """Let the server load the app without serving it. Raises ReleaseError and CommandFailed.

    Where that fails, Python alone is asked: what it says of an app that cannot be imported is easier to read.
    """
    check = check_vassal if server == "uwsgi" else check_gunicorn
    try:
        check(app, directory, timeout)
    except TimedOut as error:
        raise ReleaseError(
            f"{error}\nhealth.timeout ({timeout:g} s) limits the import of the app too: raise it, or let the import do "
            "less. It may wait for a service that does not answer"
        ) from error
    except CommandFailed:
        check_import(app, directory, timeout)
        raise


def check_calendar(schedule: Mapping[str, Job]) -> None:
    """Let systemd read the calendar expressions of the schedule. Raises ReleaseError."""
    for name, job in schedule.items():
        if job["at"]:
            try:
                run(["systemd-analyze", "calendar", job["at"]], what="systemd-analyze", timeout=30)
            except CommandFailed as error:
                raise ReleaseError(
                    f"schedule.{name}.at: systemd of this host does not accept {job['at']!r}: {error.output}. Try it "
                    "there with `systemd-analyze calendar`. Time zones are those of its /usr/share/zoneinfo"
                ) from error


def check_python_path(code: str, directories: Iterable[str]) -> None:
    """Whether the code has the *directories* of `pythonpath`. Raises ReleaseError."""
    for path in directories:
        if not is_directory(code, path):
            raise ReleaseError(
                f"pythonpath: the source has no directory {path}. Correct `pythonpath:` of the app."
            )


def check_space() -> None:
    space = os.statvfs(layout.APPS)
    free = space.f_bavail * space.f_frsize
    if free < NEEDED_BYTES:
        raise ReleaseError(
            f"{layout.APPS} has {free // 2**20} MiB free, but a build needs {NEEDED_BYTES // 2**20}. Free "
            "some space, or lower python_apps_keep_releases."
        )
    if space.f_files > 0 and space.f_favail < NEEDED_INODES:
        raise ReleaseError(
            f"{layout.APPS} has {space.f_favail} inodes free, but a build needs {NEEDED_INODES}."
        )


def check_host(server: str) -> None:
    """Before anything of the app runs: whether the host has what its release will be started by. Raises ReleaseError."""
    if server == "uwsgi" and not os.path.exists(START_UWSGI):
        raise ReleaseError("this host was set up by an earlier version of Emperor Stack: run site.yml first")


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
    processes = {**spec["workers"], **spec["schedule"]}
    entry = {
        "environment": environment.of_release(
            app,
            release,
            revision,
            spec["environment"],
            list(spec.get("secrets") or ()),
            spec.get("pythonpath") or (),
        ),
        "wsgi": spec["wsgi"],
        "paste": spec["paste"],
        "preload": spec["web"]["preload"],
        "app": {"name": app, "home": layout.cache(app)},
        "commands": {name: process["command"] for name, process in processes.items()},
        "secrets": sorted(spec.get("secrets") or {}),
    }
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


def _pins(state: AppState, spec: PlanSpec, revision: str, python: str) -> dict[str, str]:
    """What the live release's venv holds, where nothing but the Python or its own uWSGI is to change; else nothing."""
    live = state.manifest(state.live_release() or "")
    if live is None or (live.python == python and not release_venv.is_outdated(live.own_server)):
        return {}
    if (live.revision, live.fingerprint) != (revision, spec["fingerprint"]):
        return {}
    return release_venv.pins_of(state.app, live.release)


def _lacks_dependencies(code: str, wanted: Wanted, error: CommandFailed) -> CommandFailed | ReleaseError:
    """*error* of the app's check, with its likely cause before it where no dependency was installed."""
    if (
        "No module named" in error.output
        and wanted.package is None
        and not dependency_files.chosen(code, wanted)
    ):
        return ReleaseError(f"{dependency_files.nothing_installed()}\n{error}")
    return error


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
    code, venv = f"{directory}/code", f"{directory}/venv"
    check_space()
    check_host(spec["server"])
    check_calendar(spec["schedule"])
    os.mkdir(directory)
    os.chmod(directory, 0o711)
    hooks = spec["hooks"]
    source = spec["source"]
    python, hosts = wanted_python(spec), release_venv.python_version()
    own_server = python != hosts
    interpreter = (
        release_venv.interpreter(app, python, interpreters or {}) if own_server else release_venv.PYTHON
    )
    hide((spec.get("secrets") or {}).values())

    say("fetch")
    proxies = {
        scheme: index[name] for scheme in ("http", "https") if (name := f"{scheme.upper()}_PROXY") in index
    }
    fetch.fetch(spec, revision, code, proxies)
    disk_quota.count(code, account.pw_uid)
    own(code, account.pw_uid, account.pw_gid, account.pw_uid, "code")
    check_python_path(code, spec.get("pythonpath") or ())
    furnish(
        app, code, spec.get("files") or {}, spec["persistent_directories"], spec.get("persistent_files") or ()
    )

    write_configuration(spec, revision, release, account.pw_gid)

    say("venv")
    wanted = Wanted(
        requirements=spec["requirements"],
        package=source.get("package"),
        extras=spec.get("extras") or (),
        groups=spec.get("groups") or (),
        version=fetch.version_of(source, revision),
    )
    for note in filter(
        None, [*dependency_files.notes(code, wanted), dependency_files.version_note(code, python)]
    ):
        say(f"warning: {note}")
    key = release_venv.venv_key(code, wanted, python, index)
    state = AppState(app)
    pins = _pins(state, spec, revision, python)
    made = partial(release_venv.build_venv, app, code, venv, wanted, index, interpreter, pins, own_server)
    for warning in release_venv.make(state, directory, key, made):
        say(f"warning: {warning}")

    say("build")
    for what, commands in (
        ("hook before_prepare", hooks["before_prepare"]),
        ("build", spec["build"]),
        ("hook after_prepare", hooks["after_prepare"]),
    ):
        for command in commands:
            environment.run_line(app, release, command, what)
    say("seal")
    # Compiled now, since the running app cannot write here. A file that does not compile is the app's affair.
    with contextlib.suppress(CommandFailed):
        compiling = [f"{venv}/bin/python", "-m", "compileall", "-q", "-j", "1", code]
        run_as(app, compiling, what="compiling", writable=(code,))

    own(code, 0, account.pw_gid, account.pw_uid, "code")
    check_pointers(code)
    if state.live_release() is None:
        # What the app needs before it can be imported at all.
        for command in hooks.get("setup") or ():
            environment.run_line(app, release, command, "hook setup")
    say("check")
    with ThreadPoolExecutor(max_workers=1) as meanwhile:
        checked = meanwhile.submit(check_server, spec["server"], app, directory, spec["health"]["timeout"])
        # Only now that the app's processes cannot change the code: what is copied here, nginx shows to everybody.
        for warning in publish(app, code, f"{directory}/public", spec["static_files"], venv):
            say(f"warning: {warning}")
        migrations = migrations_digest(code)
        try:
            checked.result()
        except CommandFailed as error:
            raise _lacks_dependencies(code, wanted, error) from error

    manifest = Manifest(
        app=app,
        release=release,
        revision=revision,
        version=fetch.version_of(source, revision),
        fingerprint=spec["fingerprint"],
        python=python,
        venv=key,
        created=now(),
        health=spec["health"],
        host=spec["domains"][0],
        migrate=spec["migrate"],
        hooks={name: list(commands) for name, commands in hooks.items()},
        request_timeout=spec["limits"]["request_timeout"],
        on_demand=spec["on_demand"],
        migrations=migrations,
        server=spec["server"],
        own_server=release_venv.OWN_SERVER if own_server else "",
        workers={
            name: {"count": worker["count"], "overlap": worker["overlap"]}
            for name, worker in spec["workers"].items()
        },
        schedule=sorted(spec["schedule"]),
        path=spec["path"],
    )
    say("sync")
    # The manifest says that all of the rest is there: after a power cut, too.
    sync(directory)
    return state.add(manifest)
