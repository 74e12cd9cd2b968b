"""The Python of releases that were made for another Debian: how their venvs find it, and whether it still serves them.

`/usr/bin/python3` is another Python after an upgrade of Debian. Under its full name the old one stays, until apt removes
packages that nothing needs any more.
"""

from __future__ import annotations

import os
import re

from ..files.atomic import link_atomically
from ..files.reading import text
from ..host import layout
from ..host.command import ANSWER, CommandFailed, TimedOut
from ..host.release_error import ReleaseError
from ..systemd.app_process import run_as
from . import checks, venv
from .state import AppState, Manifest

#: Seconds that a release may take to show that it can be started.
SECONDS = 3


def of_debian(version: str) -> str:
    """The path of Debian's Python *version*, which an upgrade of Debian leaves as it is; empty where there is none."""
    path = f"{os.path.dirname(venv.PYTHON)}/python{version}"
    return path if re.fullmatch(r"3\.\d+", version) and os.access(path, os.X_OK) else ""


def name_in_venvs(app: str) -> list[str]:
    """Let the venvs of all releases of *app* name Debian's Python in full, as new ones do. Returns the changed releases.

    What runs notices nothing. Those that were left on a Python that has been upgraded find their own again.
    """
    changed = []
    for manifest in AppState(app).manifests():
        path = of_debian(manifest.python)
        link = f"{layout.release(app, manifest.release)}/venv/bin/python"
        if path and _target(app, manifest.release) == venv.PYTHON:
            link_atomically(path, link, 0, os.lstat(link).st_gid)
            changed.append(manifest.release)
    return changed


def _target(app: str, release: str) -> str:
    """Where the Python of a venv leads to; empty where it is no link in a directory of root's."""
    directory = f"{layout.release(app, release)}/venv/bin"
    try:
        if os.lstat(directory).st_uid == 0 and os.path.realpath(directory) == directory:
            return os.readlink(f"{directory}/python")
    except OSError:
        pass
    return ""


def obstacle(manifest: Manifest) -> str:
    """Why the release of *manifest* cannot be started on this host any more; empty where nothing is known against it.

    Asked only of a release that was built for another Python than the host has now.
    """
    if not is_of_another_debian(manifest):
        return ""
    directory = layout.release(manifest.app, manifest.release)
    if manifest.server == "uwsgi" and re.search(r"(?m)^plugin\b", text(directory, "vassal.ini") or ""):
        return f"Debian's uWSGI served it, which has Python {venv.python_version()} now instead of {manifest.python}"
    try:
        found = _version(manifest.app, f"{directory}/venv/bin/python")
        if found != manifest.python:
            return f"it was built for Python {manifest.python}, and its venv finds {found or 'none'} on this host"
        check = checks.check_vassal if manifest.server == "uwsgi" else checks.check_gunicorn
        check(manifest.app, directory, SECONDS)
    except TimedOut:
        # It may well be an app that takes its time.
        return ""
    except (CommandFailed, ReleaseError) as error:
        return (
            f"it was built for Python {manifest.python}, and cannot be loaded with it on this host: {error}"
        )
    return ""


def _version(app: str, python: str) -> str:
    """The minor version of a venv's Python, run as the app's user; empty where it does not run. Raises TimedOut."""
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        return run_as(app, [python, "-IS", "-c", program], what=python, timeout=SECONDS, whole=ANSWER).strip()
    except TimedOut:
        raise
    except CommandFailed:
        return ""


def is_of_another_debian(manifest: Manifest) -> bool:
    """Whether the release was made for another Python than the host has now, and for none that the app asked for."""
    return bool(manifest.python) and not manifest.own_server and manifest.python != venv.python_version()
