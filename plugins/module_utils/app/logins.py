"""The user by which an app is deployed over SSH, and who may log in as that.

It is not the app's user: the app could otherwise write its keys, and its processes could reach into the session. All that it
has belongs to root, and its shell is a program that starts `deploy-login` as root, whatever was asked for.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
from collections.abc import Iterator, Sequence
from typing import Any

from ..files.atomic import write_atomically
from ..host import layout
from ..host.command import run
from ..values import names
from . import ending

#: Stands in the comment field of these users.
MARK = "Emperor Stack deploys of "

#: All of them are in it: for AllowGroups of sshd, and for the rule of sudo.
GROUP = "emperor_deploy"

SHELL = f"{layout.LIBRARY}/deploy-shell"

#: Seconds that useradd and its like may take.
SECONDS = 60


class Taken(Exception):
    """A user of that name exists, and is none of ours. The message says what to do."""


def keys_text(keys: Sequence[str]) -> str:
    """The file of those who may log in: each with its comment, and nothing but that to say."""
    lines = []
    for key in keys:
        kind, body, *comment = key.split(" ", 2)
        said = re.sub(r"[^A-Za-z0-9@._+:-]+", "-", comment[0] if comment else "")[:32]
        lines.append(f'restrict,command="{said or "key"}" {kind} {body}\n')
    return "# Written by Emperor Stack: deploy_keys of the app in python_apps\n" + "".join(lines)


def account_of(app: str) -> pwd.struct_passwd | None:
    """The login of *app*; None without one. Raises Taken."""
    name = layout.login_user(app)
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        return None
    if not account.pw_gecos.startswith(MARK) or account.pw_uid == 0:
        raise Taken(
            f"user {name} (uid {account.pw_uid}, {account.pw_gecos or 'no comment'}) exists, and was not made for the "
            f"deploys of an app. Remove that user (userdel {name}), or take deploy_keys away"
        )
    return account


def take_away(app: str, keys: Sequence[str], check_mode: bool) -> Iterator[str]:
    """Let nobody log in for *app* any more but the holders of *keys*, new ones among them not yet; yields what was done.

    Sessions that a key which goes has opened end with it: sshd asks for no key again in a connection that stands.
    """
    try:
        account = account_of(app)
    except Taken:
        # Nobody came in by us.
        account = None
    path = layout.login_keys(app)
    if not keys:
        if account is not None or os.path.lexists(layout.login_home(app)):
            yield f"user {layout.login_user(app)}: removed"
            if not check_mode:
                forget(app)
        return
    wanted = set(keys_text(keys).splitlines())
    bodies = {_body(line) for line in wanted}
    there = _read(path).splitlines(keepends=True)
    kept = [line for line in there if _body(line.rstrip("\n")) in bodies]
    if kept != there:
        yield f"{path}: {len(there) - len(kept)} key(s) taken away"
        if not check_mode:
            write_atomically(path, "".join(kept), mode=0o644)
            if account is not None:
                ending.kill(account.pw_uid)


def _body(line: str) -> str:
    """Which key a line of the file lets in, whatever its comment; of a line that lets none in, the line."""
    return line if line.startswith("#") else " ".join(line.split(" ")[-2:])


def there() -> list[str]:
    """The apps that somebody may log in for, or could when a run died."""
    prefix = layout.login_user("")
    found = {one.pw_name for one in pwd.getpwall() if one.pw_gecos.startswith(MARK)}
    apps = {name.removeprefix(prefix) for name in found if name.startswith(prefix)}
    with contextlib.suppress(FileNotFoundError):
        apps |= set(os.listdir(layout.LOGINS))
    return sorted(app for app in apps if names.name(app) is None)


def ensure(app: dict[str, Any], check_mode: bool) -> Iterator[str]:
    """Let the `deploy_keys` of *app* log in, beside whom `take_away` has left; yields what was done.

    Raises Taken and CommandFailed.
    """
    name, keys = app["name"], app["deploy_keys"]
    if not keys:
        return
    account = account_of(name)
    if account is None:
        yield f"user {layout.login_user(name)}: created"
        if not check_mode:
            _make(name)
    elif account.pw_shell != SHELL:
        yield f"user {layout.login_user(name)}: shell corrected"
        if not check_mode:
            command = ["usermod", "--shell", SHELL, layout.login_user(name)]
            run(command, what="usermod", timeout=SECONDS)
    yield from _ensure_repository(app, check_mode)
    wanted = keys_text(keys)
    if _read(layout.login_keys(name)) != wanted:
        yield f"{layout.login_keys(name)}: written"
        if not check_mode:
            for directory in (
                layout.LOGINS,
                layout.login_home(name),
                os.path.dirname(layout.login_keys(name)),
            ):
                os.makedirs(directory, exist_ok=True)
                os.chmod(directory, 0o755)
            write_atomically(layout.login_keys(name), wanted, mode=0o644)


def _ensure_repository(app: dict[str, Any], check_mode: bool) -> Iterator[str]:
    """The repository that versions are pushed to. It stays until the app is removed."""
    path = layout.pushed(app["name"])
    if not app["pushed"] or os.path.isdir(path):
        return
    yield f"{path}: created"
    if not check_mode:
        os.makedirs(layout.PUSHED, mode=0o700, exist_ok=True)
        command = ["git", "init", "--quiet", "--bare", "--template=", "--initial-branch=main", path]
        run(command, what=f"creating {path}", timeout=SECONDS)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _make(app: str) -> None:
    name = layout.login_user(app)
    try:
        grp.getgrnam(GROUP)
    except KeyError:
        run(["groupadd", "--system", GROUP], what=f"creating group {GROUP}", timeout=SECONDS)
    # No password, and not locked either: sshd without PAM refuses users that are.
    command = ["useradd", "--system", "--gid", GROUP, "--no-create-home", "--password", "*"]
    command += ["--home-dir", layout.login_home(app), "--shell", SHELL, "--comment", f"{MARK}{app}", name]
    run(command, what=f"creating user {name}", timeout=SECONDS)


def forget(app: str) -> None:
    """Remove the login of *app*: first the keys, so that nobody comes in any more. Raises CommandFailed."""
    home = layout.login_home(app)
    if os.path.lexists(home):
        command = ["rm", "--recursive", "--force", "--one-file-system", "--", home]
        run(command, what=f"removing {home}", timeout=SECONDS)
    try:
        account = account_of(app)
    except Taken:
        return
    if account is not None:
        # Its connections first: they outlive the user, and the next login that is made may get its number. A phase of a
        # deploy that runs is root's, and comes to its end.
        ending.kill(account.pw_uid)
        run(["userdel", "--force", account.pw_name], what=f"removing {account.pw_name}", timeout=SECONDS)
