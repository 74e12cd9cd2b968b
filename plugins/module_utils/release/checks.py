"""What a host and a release are checked for, before and after the release is built."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from ..files.reading import is_directory
from ..host import layout
from ..host.command import ANSWER, CommandFailed, TimedOut, run
from ..host.release_error import ReleaseError
from ..systemd.app_process import run_as
from ..uwsgi import emperor_check
from . import dependency_files, environment
from .dependency_files import Wanted
from .spec import Job

#: Makes uWSGI of a Python; see its own text.
START_UWSGI = f"{layout.LIBRARY}/start-uwsgi"

#: The first gunicorn whose uwsgi protocol leaves bodies without a length whole, and reads requests that come in parts.
LEAST_GUNICORN = (27, 0)

#: Free bytes and inodes without which a build is not begun: a full disk would hurt the live releases too.
NEEDED_BYTES = 300 * 1024 * 1024
NEEDED_INODES = 20_000


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
            f"the app's requirements bring gunicorn {found}. Before {least} it corrupts answers over the uwsgi "
            f"protocol, and its ASGI worker is not supported here: require gunicorn>={least}"
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


def lacks_dependencies(code: str, wanted: Wanted, error: CommandFailed) -> CommandFailed | ReleaseError:
    """*error* of the app's check, with its likely cause before it where no dependency was installed."""
    if (
        "No module named" in error.output
        and wanted.package is None
        and not dependency_files.chosen(code, wanted)
    ):
        return ReleaseError(f"{dependency_files.nothing_installed()}\n{error}")
    return error
