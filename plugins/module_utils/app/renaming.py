"""Give an app another name: the new one gets the user id, the data and the history of the old one, which serves on.

Both names are one user to the kernel, so that no file changes its owner while processes of the old name still write. The
data moves in one rename, and the old name finds it by a link. Until the new app is live, its `active` leads to the old
app's, so that nginx, which knows the new name alone, reaches what runs.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil

from ..files.atomic import exchange, link_atomically, replacing, sync_directory
from ..host import layout
from ..host.command import run
from ..release.state import AppState

#: Stands in the comment field of the users that are made for apps.
MARK = "Emperor Stack app"


def is_app(name: str) -> bool:
    """Whether *name* is a user that was made for an app."""
    try:
        return pwd.getpwnam(name).pw_gecos.startswith(MARK)
    except KeyError:
        return False


def shares_user(name: str) -> bool:
    """Whether the uid of *name* is another user's too, as that of an app is which was taken over."""
    try:
        uid = pwd.getpwnam(name).pw_uid
    except KeyError:
        return False
    return any(account.pw_uid == uid and account.pw_name != name for account in pwd.getpwall())


def refusal(old: str | None, new: str) -> str | None:
    """Why *new* cannot take over *old* on this host; None where it can, or where there is nothing to take over."""
    if old is None or not is_app(old) or not is_app(new):
        return None
    if pwd.getpwnam(old).pw_uid == pwd.getpwnam(new).pw_uid:
        return None
    return (
        f"{new} and {old} both exist with their own data, so {new} cannot take over {old}: remove "
        f"renamed_from, or the app that you do not need (playbooks/remove.yml -e app={new})"
    )


def make_user(old: str, new: str, home: str) -> None:
    """Make user *new* with the uid and the gid of *old*."""
    account = pwd.getpwnam(old)
    try:
        grp.getgrnam(new)
    except KeyError:
        group = ["groupadd", "--system", "--non-unique", "--gid", str(account.pw_gid), new]
        run(group, what=f"creating group {new}", timeout=60)
    command = ["useradd", "--system", "--non-unique", "--uid", str(account.pw_uid), "--gid", new]
    command += [
        "--no-create-home",
        "--home-dir",
        home,
        "--shell",
        "/usr/sbin/nologin",
        "--comment",
        MARK,
        new,
    ]
    run(command, what=f"creating user {new} with the uid of {old}", timeout=60)


def move_data(old: str, new: str, check_mode: bool = False) -> list[str]:
    """Move what outlives releases from *old* to *new*, whose directories but `shared` exist. Returns what was done."""
    if not os.path.isdir(layout.app_root(old)):
        return []
    changes = []
    source, target = layout.shared(old), layout.shared(new)
    # A link in its place is that of a run which died before the exchange.
    if os.path.isdir(source) and not os.path.islink(source) and not os.path.isdir(target):
        changes.append(f"{source}: moved to {target}")
        if not check_mode:
            with contextlib.suppress(FileExistsError):
                os.symlink(target, target)
            exchange(source, target)
            for path in (source, target):
                sync_directory(os.path.dirname(path))
    history = AppState(new).history_path
    if os.path.exists(AppState(old).history_path) and not os.path.exists(history):
        changes.append(f"{history}: taken over from {old}")
        if not check_mode:
            with open(AppState(old).history_path, "rb") as kept, replacing(history) as file:
                shutil.copyfileobj(kept, file)
            AppState(new).remember({"kind": "rename", "from": old, "result": "good"})
    # Once only: it may be switched off for the new name before the old one is gone. That keeps its own until then.
    flag, taken = layout.maintenance(old), layout.maintenance(new)
    if os.path.lexists(flag) and not os.path.lexists(taken) and not os.path.lexists(layout.active(new)):
        changes.append(f"{taken}: taken over from {old}")
        if not check_mode:
            shutil.copy2(flag, taken)
    # By the old one's own `active`, so that it may move to another activation meanwhile.
    if os.path.lexists(layout.active(old)) and not os.path.lexists(layout.active(new)):
        changes.append(f"{layout.active(new)}: leads to {old} until {new} is live")
        if not check_mode:
            with contextlib.suppress(FileExistsError):
                os.symlink(layout.active(old), f"{layout.activations(new)}/{old}")
            link_atomically(f"activations/{old}", layout.active(new))
    return changes
