"""Take an app away from a host: exactly this one, with all that it has, and its data into an archive before.

The order is that of a removal that may die at any point: what runs is stopped, then the data is archived, then one rename
makes the app's directory rubbish, and the user goes last. The next run finds what is left by the user or the directory.
Nothing of an app is deleted by a glob, and no link that it may have planted is followed: files are deleted by `rm`, which
opens directories and never their links, after all processes of the app have ended.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import re
import stat
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from ..files.atomic import sync_directory, write_atomically
from ..host import disk_quota, layout
from ..host.command import CommandFailed, run
from ..release import lifecycle
from ..release.state import AppState
from . import archive as app_archive
from . import ending as app_ending
from . import front_sites, logins
from .renaming import MARK
from .traces import Listing, left_behind, listing, paths_of, uid_of

#: Room that stays free beside an archive.
SPARE_BYTES = 64 * 1024 * 1024

#: Further tries at a user that somebody starts processes of.
USERDEL_TRIES = 3

MOUNTS = "/proc/self/mountinfo"


class RemovalRefused(Exception):
    """The app is not removed, and nothing of it was touched. The message says what to do."""


def mounts_below(path: str, mountinfo: str) -> list[str]:
    """Mount points at or below *path* in a text like /proc/self/mountinfo."""
    points = [
        re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), line.split()[4])
        for line in mountinfo.splitlines()
    ]
    return [point for point in points if f"{point}/".startswith(f"{path}/")]


# refusing


def check(
    found: Listing,
    successor: str | None,
    archive: bool,
    break_lock: bool,
    dead: Collection[str],
    site: bool = True,
) -> None:
    """Raise RemovalRefused or Locked where *found* must not be removed.

    *site*: whether the web server must have forgotten the app. *dead* are tokens of ended runs, whose locks do not count.
    """
    app = found.app
    account = pwd.getpwnam(app) if found.uid is not None else None
    if account is not None and not account.pw_gecos.startswith(MARK):
        raise RemovalRefused(
            f"user {app} (uid {account.pw_uid}, {account.pw_gecos or 'no comment'}) was not created for "
            "an app. Remove it by hand"
        )
    if successor and not _serves(successor):
        raise RemovalRefused(
            f"{successor}, its new name, is not live yet. Deploy that first: -e app={successor}"
        )
    AppState(app).free_lock(dead, break_lock)
    if site and (served := front_sites.own(app)):
        raise RemovalRefused(
            f"the web server still has its site {served[0]}, so visitors would get errors. site.yml and "
            "playbooks/remove.yml remove it; remove a site by hand if it was changed by hand"
        )
    if site and (leading := front_sites.of_other_apps(app)):
        raise RemovalRefused(
            f"{leading[0]} still leads visitors to it, who would get errors. site.yml and "
            "playbooks/remove.yml remove it, unless the site is held back"
        )
    with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
        points = mounts_below(layout.app_root(app), file.read())
    if points:
        raise RemovalRefused(f"something is mounted at {', '.join(points)}. Unmount it first; its files stay")
    if archive:
        _check_room(found, found.log_size if successor else found.data + found.log_size)


def _serves(app: str) -> bool:
    """Whether *app* has a live activation of its own."""
    activation = AppState(app).live_activation() or ""
    return activation.startswith(f"{app}@") and lifecycle.runner_of(activation) is not None


def _check_room(found: Listing, wanted: int) -> None:
    place = layout.BACKUPS
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    there = os.statvfs(place)
    free = there.f_bavail * there.f_frsize
    if wanted + SPARE_BYTES > free:
        raise RemovalRefused(
            f"its data and logs take {mib(wanted)} MiB, but {layout.BACKUPS} has only {mib(free)} MiB free "
            "for the archive. Free some space, or remove it without an archive: -e archive=false"
        )


def mib(size: int) -> int:
    return -(-size // (1024 * 1024))


# removing


def remove(
    app: str,
    successor: str | None = None,
    archive: bool = True,
    break_lock: bool = False,
    dead: Collection[str] = (),
) -> dict[str, Any]:
    """Remove all of exactly *app*; return what was removed, and where its data is.

    Raises RemovalRefused, Locked or CommandFailed.
    """
    found = listing(app)
    if not found:
        return {**found.described(), "archive": None}
    check(found, successor, archive, break_lock, dead)
    # Whoever pushes would write into what is deleted.
    logins.forget(app)
    kept: str | None = None
    not_kept: list[str] = []
    with contextlib.ExitStack() as stack:
        if os.path.isdir(layout.state(app)):
            stack.enter_context(AppState(app).working(seconds=120))
        app_ending.end(app, None if found.shared else found.uid)
        if archive and os.path.isdir(layout.app_root(app)):
            # What a successor took over is not this app's any more.
            kept, not_kept = app_archive.write(app, found.logs, data=successor is None)
        _forget_certificates(app)
        _delete(app)
    _forget(app)
    if successor:
        # By it visitors were led to this app until the successor was live.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{layout.activations(successor)}/{app}")
    _remove_user(found)
    behind = [line for line in found.left if " is a link to it" in line]
    return {
        **found.described(),
        "left": [*behind, *left_behind(found)],
        "archive": kept or None,
        "data_archived": bool(kept) and successor is None,
        "not_archived": not_kept,
    }


def _delete(app: str) -> None:
    """Delete all files of *app*. A death after the rename leaves rubbish, and no app that looks whole."""
    root, rubbish = layout.app_root(app), layout.leaving(app)
    if os.path.lexists(root):
        if os.path.lexists(rubbish):
            delete([rubbish])
        os.rename(root, rubbish)
        sync_directory(layout.APPS)
    paths = paths_of(app)
    delete(paths)
    if any(path.startswith(f"{layout.UNITS}/") for path in paths):
        run(["systemctl", "daemon-reload"], what="systemctl daemon-reload", timeout=90)


def delete(paths: Sequence[str]) -> None:
    """Delete *paths* with all that is in them. Links in them are deleted, not followed; other filesystems are left."""
    if paths:
        run(
            ["rm", "--recursive", "--force", "--one-file-system", "--", *paths],
            what="deleting its files",
            timeout=3600,
        )


def _forget_certificates(app: str) -> None:
    """Before they are deleted: the timer would order them again."""
    # Not at the top: app_accounts, which is asked in every run, takes `found_apps` from here.
    from ..tls import store as certificate_store

    certificate_store.forget(app)


def _forget(app: str) -> None:
    """Take *app* out of what is written for all apps of the host together. The next site.yml would write the same."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        with open(layout.SIZES, encoding="utf-8") as file:
            sizes = json.load(file)
        if sizes.pop(app, None) is not None:
            write_atomically(layout.SIZES, json.dumps(sizes, indent=1, sort_keys=True) + "\n", 0o644)
    with contextlib.suppress(FileNotFoundError):
        with open(layout.TMPFILES, encoding="utf-8") as file:
            text = file.read()
        gone = {
            layout.socket_directory(app),
            layout.old_socket_directory(app),
            layout.old_waiting_directory(app),
        }
        kept = without_directories(text, gone)
        if kept != text:
            write_atomically(layout.TMPFILES, kept, stat.S_IMODE(os.stat(layout.TMPFILES).st_mode))


def without_directories(tmpfiles: str, gone: Iterable[str]) -> str:
    """The lines of a tmpfiles.d file without those for exactly the paths *gone*."""
    paths = set(gone)
    lines = tmpfiles.splitlines(keepends=True)
    return "".join(line for line in lines if paths.isdisjoint(line.split()[1:2]))


def _remove_user(found: Listing) -> None:
    """The user goes last: it is what a killed removal is found by."""
    app = found.app
    with contextlib.suppress(KeyError):
        grp.getgrnam(app)
        run(["groupdel", "--force", app], what=f"removing group {app}", timeout=60)
    if uid_of(app) is None:
        return
    # userdel would refuse where processes of the app that took this one over have the uid.
    force = ["--force"] if found.shared else []
    if found.uid is not None and not found.shared:
        disk_quota.forget(found.uid)
    for more in range(USERDEL_TRIES, -1, -1):
        try:
            run(["userdel", *force, app], what=f"removing user {app}", timeout=60)
            return
        except CommandFailed:
            # It refuses as well where a cron job of the app's has begun while its files were deleted.
            if not more or found.shared or found.uid is None:
                raise
            app_ending.kill(found.uid)
