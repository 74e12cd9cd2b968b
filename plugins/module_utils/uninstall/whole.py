"""Take Emperor Stack off a host: everything that its roles wrote, by their own manifests, and nothing else.

The apps are gone by then (`app/removal.py`). A run that dies leaves the manifests, so that the next one goes on.
"""

from __future__ import annotations

import contextlib
import glob
import grp
import os
import pwd
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

from ..app import logins
from ..app.removal import delete
from ..file_set import manifest as file_sets
from ..file_set.manifest import load_manifest
from ..file_set.pruning import leftovers
from ..file_set.swap import inspect
from ..host import layout
from ..host.command import ANSWER, CommandFailed, run

#: All that is in there is ours, whoever wrote it; what people wrote goes into the archive before.
TREES = (
    "/etc/nginx/emperor-stack",
    "/etc/apache2/emperor-stack",
    "/etc/haproxy/emperor-stack",
    layout.CONFIG,
    layout.RUN,
    layout.LIBRARY,
    layout.APPS,
)

#: What the removal of an app writes anew, without that app: it is not as its role wrote it, and ours all the same.
REWRITTEN = frozenset({layout.TMPFILES})

#: What nobody could write again: people's own directives, certificates with their keys and accounts.
KEPT = (*layout.FRONT_LOCAL, layout.TLS)

#: Packages that roles install, as far as somebody would want to know; they stay.
PACKAGES = (
    "apache2", "fail2ban", "haproxy", "keepalived", "libnginx-mod-http-brotli-filter", "libnginx-mod-http-brotli-static",
    "nginx", "postgresql", "redis-server", "restic", "uwsgi-core", "uwsgi-plugin-python3", "valkey-server",
)  # fmt: skip

#: In the order in which they stop: visitors first. Instances, whose units have no file of their own.
SERVICES = ("keepalived.service", "haproxy.service", "nginx.service", "apache2.service")
INSTANCES = (
    "emperor@a.service",
    "emperor@b.service",
    "systemd-journald@apps.service",
    "systemd-journald@apps.socket",
)


@dataclass(frozen=True)
class Written:
    """What the roles have on the host: files and links as they wrote them, directories, and what was changed since."""

    files: list[str]
    directories: list[str]
    edited: list[str]

    def __bool__(self) -> bool:
        # A run that died at its end has left nothing but its manifests.
        return bool(self.files or self.directories or self.edited or os.path.isdir(file_sets.MANIFESTS))


def written() -> Written:
    """Raises ValueError where a manifest is none: nothing is deleted by guess."""
    files: list[str] = []
    directories: set[str] = set()
    edited: list[str] = []
    names = os.listdir(file_sets.MANIFESTS) if os.path.isdir(file_sets.MANIFESTS) else []
    for name in sorted(names):
        # nginx.good.json holds contents, and is no manifest.
        if not re.fullmatch(r"[a-z0-9_-]+\.json", name):
            continue
        with open(f"{file_sets.MANIFESTS}/{name}", encoding="utf-8") as file:
            manifest = load_manifest(file.read())
        present = {path: now for path in manifest.files if (now := inspect(path)).state != "absent"}
        ours = leftovers(manifest, [], present)
        directories |= {path for path in ours.remove if present[path].state == "directory"}
        files += [path for path in ours.remove if present[path].state != "directory"]
        files += REWRITTEN.intersection(ours.edited)
        edited += set(ours.edited) - REWRITTEN
    deepest = sorted(directories, key=lambda path: (-path.count("/"), path))
    return Written(files, deepest, edited)


def units(files: Iterable[str]) -> list[str]:
    """The units among *files*: services and timers before sockets and slices, which would start or hold them."""
    order = (".timer", ".socket", ".service", ".slice")
    names = [os.path.basename(path) for path in files if os.path.dirname(path) == layout.UNITS]
    found = [name for name in names if name.endswith(order) and "@" not in name]
    return sorted(found, key=lambda name: (order.index(os.path.splitext(name)[1]), name))


def keep(now: float) -> str:
    """Put what nobody could write again into an archive; return its path, empty where there is nothing."""
    there = [path for path in KEPT if os.path.isdir(path) and any(files for _, _, files in os.walk(path))]
    if not there:
        return ""
    os.makedirs(layout.BACKUPS, mode=0o700, exist_ok=True)
    path = f"{layout.BACKUPS}/host-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}.tar.gz"
    names = [one.lstrip("/") for one in there]
    # Nobody else reads the keys, not for a moment.
    shell = ["sh", "-c", 'umask 077; exec tar -C / -czf "$0" -- "$@"', f"{path}.new", *names]
    run(shell, what="archiving certificates and local configuration", timeout=600)
    os.rename(f"{path}.new", path)
    return path


def stop_front() -> None:
    """Let no visitor come any more, before the apps go."""
    for unit in SERVICES:
        if os.path.exists(f"{layout.UNITS}/{unit}.d/emperor-stack.conf"):
            _stop(unit)


def _stop(unit: str) -> None:
    for command in (["systemctl", "disable", "--quiet", "--now", unit], ["systemctl", "stop", unit]):
        with contextlib.suppress(CommandFailed):
            run(command, what=f"stopping {unit}", timeout=300)
            return


def remove(found: Written) -> list[str]:
    """Stop what runs, and delete what is ours. Returns Debian's own packages of which files went with ours."""
    for unit in (*units(found.files), *INSTANCES):
        _stop(unit)
    debians = owners([*found.files, *found.directories])
    delete([path for path in found.files if os.path.dirname(path) != file_sets.MANIFESTS])
    for path in found.directories:
        if path not in debians:
            # Others have something in it, or it is gone with a tree.
            with contextlib.suppress(OSError):
                os.rmdir(path)
    dangling = [path for path in _links_of_units() if not os.path.exists(path)]
    delete([*dangling, *(path for path in TREES if os.path.lexists(path))])
    run(["systemctl", "daemon-reload"], what="systemctl daemon-reload", timeout=90)
    _remove_logins()
    _let_go()
    # With the manifests: by them the next run would go on.
    delete([path for path in (layout.HOST_STATE,) if os.path.lexists(path)])
    return sorted({debians[path] for path in found.files if path in debians})


def _links_of_units() -> list[str]:
    """Links by which systemd started our units."""
    return [
        os.path.join(directory, name)
        for directory, _, names in os.walk(layout.UNITS)
        for name in names
        if re.match(r"(emperor|app_|apps|systemd-journald@apps)", name)
        and os.path.islink(os.path.join(directory, name))
    ]


def owners(paths: list[str]) -> dict[str, str]:
    """Those of *paths* that belong to packages of Debian, each with the package."""
    if not paths:
        return {}
    # It fails where it knows one of them not, and says the others all the same.
    shell = ["sh", "-c", '"$@" 2>/dev/null || :', "sh", "dpkg-query", "--search", *paths]
    said = run(shell, what="dpkg-query", timeout=120, whole=ANSWER)
    found = (re.match(r"([^\s:,]+)(?::\w+)?(?:, [^:]+)*: (/.*)$", line) for line in said.splitlines())
    return {match[2]: match[1] for match in found if match and match[2] in paths}


def _remove_logins() -> None:
    for account in pwd.getpwall():
        if account.pw_gecos.startswith(logins.MARK) and account.pw_uid != 0:
            run(["userdel", account.pw_name], what=f"removing user {account.pw_name}", timeout=60)
    with contextlib.suppress(KeyError):
        grp.getgrnam(logins.GROUP)
        run(["groupdel", logins.GROUP], what=f"removing group {logins.GROUP}", timeout=60)


def _let_go() -> None:
    """Let what goes on running read its configuration without ours. sshd only where it takes it."""
    for command in (
        ["sh", "-c", "! systemctl is-active --quiet ssh || { sshd -t && systemctl reload ssh; }"],
        ["sh", "-c", "systemctl try-restart systemd-journald fail2ban; :"],
    ):
        with contextlib.suppress(CommandFailed):
            run(command, what="reading the configuration without ours", timeout=120)


def stays(debians: Iterable[str], edited: Iterable[str]) -> list[str]:
    """What a person may want to know of what is still there."""
    said = []
    if os.path.isdir(layout.BACKUPS) and os.listdir(layout.BACKUPS):
        said.append(f"{layout.BACKUPS}: archives of data, for root alone; only you delete them")
    info = "/var/lib/dpkg/info"
    names = [
        name for name in PACKAGES if glob.glob(f"{info}/{name}.list") or glob.glob(f"{info}/{name}:*.list")
    ]
    if names:
        said.append(f"packages: {', '.join(names)}; apt-get purge removes those that nothing else needs")
    for name, path in (
        ("PostgreSQL", "/var/lib/postgresql"),
        ("Redis", "/var/lib/redis"),
        ("Valkey", "/var/lib/valkey"),
    ):
        if os.path.isdir(path):
            said.append(f"{path}: what {name} holds, also of other programs")
    for package in debians:
        said.append(
            f"{package}: Debian's own files of it went with ours; to have them back: apt-get install --reinstall "
            f"-o Dpkg::Options::=--force-confmiss {package}"
        )
    said += [
        f"{path}: changed since it was written, so left in place" for path in edited if os.path.lexists(path)
    ]
    said.append("kernel parameters until the next boot, and the journal of the apps until it expires")
    return said
