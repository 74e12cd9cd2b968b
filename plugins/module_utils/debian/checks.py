"""What has to be so before Debian is upgraded on a host: each problem with its place, its reason and its fix."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..host import layout, output
from ..host.command import ANSWER, CommandFailed, run
from ..host.release_error import ReleaseError
from ..release import checks as release_checks
from ..release.options import Options
from ..release.phases import run_phase
from . import apt, suites
from .suites import Debian

#: Packages that serve, or by which the host is reached: none of them may go.
NEEDED = (
    "apache2", "git", "haproxy", "keepalived", "nginx", "nginx-common", "openssh-server", "postgresql", "postgresql-15",
    "python3", "python3-venv", "redis-server", "sudo", "systemd", "uwsgi-core", "uwsgi-plugin-python3",
)  # fmt: skip

#: Bytes that stay free beside what apt wants.
MARGIN = 500 * 10**6

#: These exist where roles postgresql and redis have set the host up.
DATABASES = f"{layout.CONFIG}/postgresql"
REDIS = f"{layout.CONFIG}/redis"

BACKUP = f"{layout.LIBRARY}/backup"


@dataclass(frozen=True)
class Problem:
    """*check* is the name by which it can be accepted with `-e accept=`; empty where it cannot."""

    check: str
    place: str
    reason: str
    fix: str

    def shown(self) -> str:
        fix = f"{self.fix}, or add -e accept={self.check}" if self.check else self.fix
        lines = [line.rstrip() for line in output.shown(self.reason).splitlines()]
        reason = "\n            ".join(lines)
        return f"{self.place}\n    reason: {reason}\n    fix:    {fix}"


@dataclass(frozen=True)
class Wanted:
    """What the inventory says of the host."""

    #: Each with `name` and `python`.
    apps: Sequence[Mapping[str, Any]] = ()
    interpreters: Mapping[str, str] = field(default_factory=dict)
    postgresql_version: str = ""
    #: The sha256 of the program that starts uWSGI, as site.yml of today writes it.
    start_uwsgi: str = ""
    http_port: int = 80


def problems(old: Debian, new: Debian, wanted: Wanted) -> list[Problem]:
    """All that speaks against an upgrade of this host from *old* to *new*."""
    found = [
        *of_apps(statuses(wanted.apps, wanted.http_port)),
        *of_pythons(old, wanted.apps, wanted.interpreters),
        *of_program(wanted.start_uwsgi),
        *of_databases(wanted.postgresql_version),
        *of_backup(),
        *of_dpkg(),
    ]
    sources = suites.changes(old.name, new.name)
    if not sources:
        reason = f"no line names {old.name}, so nothing would be upgraded"
        found.append(Problem("", "sources of apt", reason, f"name {old.name} in /etc/apt/sources.list"))
        return found
    try:
        forecast = apt.forecast(sources)
    except CommandFailed as error:
        fix = f"correct the sources named above, or disable those that {new.name} has nothing of"
        return [*found, Problem("", f"sources of apt with {new.name}", str(error), fix)]
    return [*found, *of_forecast(forecast, old)]


def statuses(apps: Iterable[Mapping[str, Any]], port: int) -> dict[str, Any]:
    """What the phase `status` says of each app."""
    named: list[Any] = [{"name": app["name"]} for app in apps]
    return dict(run_phase("status", named, Options(http_port=port)))


def of_apps(found: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    """Of what the phase `status` says."""
    known = []
    for app, said in found.items():
        health = said.get("error") or said.get("health")
        if lock := said.get("lock"):
            reason = f"a {lock.get('kind') or 'deploy'} is under way, or was left by a run that died"
            known.append(
                Problem("", f"app {app}", reason, f"wait for its end, or run deploy.yml -e app={app}")
            )
        elif health != "ok" and not said.get("maintenance"):
            reason = f"it is not healthy: {health}"
            known.append(
                Problem("status", f"app {app}", reason, "repair it first (docs/operations.md), or remove it")
            )
    return known


def of_pythons(
    old: Debian, apps: Iterable[Mapping[str, Any]], interpreters: Mapping[str, str]
) -> list[Problem]:
    """Apps that ask for the Python that the host is about to lose."""
    reason = f"it asks for Python {old.python}, which is no part of the next Debian"
    fix = f"""leave `python: "{old.python}"` out, or install that Python elsewhere and name it in python_apps_interpreters"""
    path = interpreters.get(old.python, "")
    if path and not path.startswith("/usr/bin/"):
        return []
    return [Problem("", f"app {app['name']}", reason, fix) for app in apps if app.get("python") == old.python]


def of_program(wanted: str) -> list[Problem]:
    """What starts uWSGI: that of an earlier version could not start the apps again until they are built anew."""
    with contextlib.suppress(FileNotFoundError), open(release_checks.START_UWSGI, "rb") as file:
        if hashlib.sha256(file.read()).hexdigest() == wanted:
            return []
    reason = "an earlier version set the host up, whose apps could not be started again after the upgrade"
    return [Problem("", "Emperor Stack on the host", reason, "run site.yml first")]


def of_databases(postgresql_version: str) -> list[Problem]:
    """PostgreSQL and Redis of the host: the next Debian brings others, which begin empty."""
    found = []
    if not postgresql_version and os.path.isdir(DATABASES):
        reason = "the next Debian has another version of PostgreSQL, and the apps would find it empty"
        fix = (
            'set postgresql_version: "15", run site.yml, and move the data after the upgrade by '
            "playbooks/upgrade_postgresql.yml (docs/databases.md)"
        )
        found.append(Problem("", "PostgreSQL of the apps", reason, fix))
    if os.path.isdir(REDIS):
        reason = (
            "the next Debian has Valkey in the place of Redis, for the same port and without the apps' data"
        )
        fix = "set up a host of the next Debian in its place, and move the apps there (docs/operations.md)"
        found.append(Problem("", "Redis of the apps", reason, fix))
    return found


def of_backup() -> list[Problem]:
    """Where the host has backups: whether the last one is good and not old."""
    if not os.access(BACKUP, os.X_OK):
        return []
    try:
        said = json.loads(run([BACKUP, "status"], what="the state of the backup", timeout=60, whole=ANSWER))
        if said["good"]:
            return []
        reason = "; ".join(str(one) for one in said["problems"]) or str(said["text"])
    except (CommandFailed, ValueError, KeyError, TypeError) as error:
        reason = str(error)
    return [Problem("backup", "backup of the host", reason, "run playbooks/backup.yml -e action=now")]


def of_dpkg() -> list[Problem]:
    """Packages that are half installed, and those that are held."""
    found = []
    if audit := run(["dpkg", "--audit"], what="dpkg --audit", timeout=120, whole=ANSWER).strip():
        found.append(Problem("", "packages", audit, "dpkg --configure -a, then apt-get install -f"))
    held = run(["apt-mark", "showhold"], what="apt-mark showhold", timeout=120, whole=ANSWER).split()
    if held:
        reason = f"{', '.join(held)} are held, and would stay behind"
        found.append(Problem("held", "packages", reason, f"apt-mark unhold {' '.join(held)}"))
    return found


def of_forecast(forecast: apt.Forecast, old: Debian) -> list[Problem]:
    """Packages that would go although they serve, and space that is not there."""
    found = []
    if gone := sorted({*NEEDED, f"python{old.python}"} & {*forecast.removed}):
        reason = f"the upgrade would remove {', '.join(gone)}"
        found.append(
            Problem("", "packages", reason, "see why with `apt-get -s full-upgrade` and the new sources")
        )
    wanted: dict[int, tuple[str, int]] = {}
    for path, size in (("/var/cache/apt", forecast.fetched), ("/usr", forecast.grown)):
        device = os.stat(path).st_dev
        first, before = wanted.get(device, (path, 0))
        wanted[device] = first, before + size
    for path, size in wanted.values():
        space = os.statvfs(path)
        free = space.f_bavail * space.f_frsize
        if free < size + MARGIN:
            reason = f"{free // 10**6} MB are free, and the upgrade wants {(size + MARGIN) // 10**6} MB"
            found.append(
                Problem("disk", f"disk of {path}", reason, "apt-get clean, and see docs/operations.md")
            )
    try:
        release_checks.check_space()
    except ReleaseError as error:
        found.append(
            Problem("", f"disk of {layout.APPS}", str(error), "make space: every app is built again")
        )
    return found
