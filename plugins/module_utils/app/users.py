"""The Unix users and groups of apps: which are ours, whose name is taken, and what a run that died left half made."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Collection, Iterator
from typing import Any

from ..host import layout
from ..host.command import CommandFailed, run
from . import renaming
from .renaming import MARK, is_app

#: Seconds that useradd and its like may take: they wait for the lock of /etc/passwd.
SECONDS = 60


def user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def group(name: str) -> grp.struct_group | None:
    try:
        return grp.getgrnam(name)
    except KeyError:
        return None


def _group_of(gid: int) -> grp.struct_group | None:
    try:
        return grp.getgrgid(gid)
    except KeyError:
        return None


class Users:
    """The users of a host, as they were when this was made, and the names of the apps that it is to have."""

    def __init__(self, apps: Collection[str]) -> None:
        self._apps = set(apps)
        self._by_uid: dict[int, list[pwd.struct_passwd]] = {}
        for account in pwd.getpwall():
            self._by_uid.setdefault(account.pw_uid, []).append(account)

    def refusal(self, name: str, renamed_from: str | None) -> str | None:
        """Why no app can have user and group *name* on this host, with what to do; None where one can."""
        account, own = user(name), group(name)
        if account is None:
            return self._group_refusal(name, own, renamed_from)
        if not account.pw_gecos.startswith(MARK):
            return (
                f"user {name} (uid {account.pw_uid}, {account.pw_gecos or 'no comment'}) exists and was "
                f"not created for an app. Rename the app, or remove that user (userdel {name})"
            )
        if account.pw_uid == 0:
            return f"user {name} has uid 0: it is root. Remove it by hand"
        return self._shared_refusal(account) or self._other_group(account, own)

    def _group_refusal(self, name: str, own: grp.struct_group | None, renamed_from: str | None) -> str | None:
        """The group of a user that is still to be made: none, or the one that a run which died made for a rename."""
        if own is None:
            return None
        before = user(renamed_from) if renamed_from and is_app(renamed_from) else None
        if before is not None and own.gr_gid == before.pw_gid:
            return None
        members = f", with {', '.join(own.gr_mem[:5])} in it" if own.gr_mem else ""
        return (
            f"group {name} (gid {own.gr_gid}{members}) exists without a user of that name, so it was not "
            "created for an app. Rename the app, or remove that group if nothing needs it (groupdel "
            f"{name})"
        )

    def _shared_refusal(self, account: pwd.struct_passwd) -> str | None:
        """Two names of one uid are one user to the kernel: right only for an app and the name that it had before."""
        for other in self._by_uid.get(account.pw_uid, []):
            known = other.pw_gecos.startswith(MARK) and other.pw_name not in self._apps
            if other.pw_name != account.pw_name and not known:
                return (
                    f"user {account.pw_name} has the uid {account.pw_uid} of user {other.pw_name}, so the "
                    "two are not isolated from each other. Remove one of them, or rename the app"
                )
        return None

    def _other_group(self, account: pwd.struct_passwd, own: grp.struct_group | None) -> str | None:
        """Where the group of the name and that of the user are two."""
        name, gid = account.pw_name, account.pw_gid
        if own is not None and own.gr_gid != gid:
            return (
                f"group {name} (gid {own.gr_gid}) is not the group of user {name} (gid {gid}): it was not "
                f"created for the app. Remove it if nothing needs it (groupdel {name}): site.yml creates "
                "the right one"
            )
        holder = _group_of(gid) if own is None else None
        if holder is not None and not self._was_same_app(account, holder.gr_name):
            return (
                f"user {name} has the gid {gid}, which now belongs to group {holder.gr_name}, and there "
                f"is no group {name}. Give that group another gid (groupmod --gid … {holder.gr_name})"
            )
        return None

    def _was_same_app(self, account: pwd.struct_passwd, other: str) -> bool:
        """Whether *other* is a name of the same app: before or after a rename."""
        return other in [one.pw_name for one in self._by_uid.get(account.pw_uid, [])]


def ensure(app: dict[str, Any], check_mode: bool) -> Iterator[str]:
    """Make the user and the group of *app*, which nothing refuses; yields what was done. Raises CommandFailed."""
    name = app["name"]
    if user(name) is None:
        yield f"user {name}: created"
        if check_mode:
            return
        try:
            _make(app)
        except CommandFailed:
            # Another run may have made it at the same moment.
            if not is_app(name):
                raise
    account = user(name)
    # A run that died between the two, be it one that made the user or one that removed it.
    if account is not None and group(name) is None:
        yield f"group {name}: created"
        if not check_mode:
            command = ["groupadd", "--system", "--non-unique", "--gid", str(account.pw_gid), name]
            run(command, what=f"creating group {name}", timeout=SECONDS)


def _make(app: dict[str, Any]) -> None:
    name, old = app["name"], app["renamed_from"]
    if old and is_app(old):
        renaming.make_user(old, name, layout.cache(name))
        return
    command = ["useradd", "--system", "--user-group", "--no-create-home"]
    command += ["--home-dir", layout.cache(name), "--shell", "/usr/sbin/nologin"]
    run([*command, "--comment", MARK, name], what=f"creating user {name}", timeout=SECONDS)
