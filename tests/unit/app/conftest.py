"""A host of one's own, with directories that another user than root may write to."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.app import renaming
from ansible_collections.emperor.stack.plugins.module_utils.app import users as app_users
from ansible_collections.emperor.stack.plugins.module_utils.host import layout

#: Of the app, of whose name no user of this machine has to be.
APP, FRONT = 61234, 61235


class Accounts:
    """What pwd and grp know: names to users and groups. A user is its uid and the gid of its group."""

    def __init__(self) -> None:
        self.users: dict[str, SimpleNamespace] = {}
        self.groups: dict[str, SimpleNamespace] = {}

    def user(self, name: str, uid: int, gid: int | None = None, comment: str = renaming.MARK) -> None:
        gid = uid if gid is None else gid
        self.users[name] = SimpleNamespace(pw_name=name, pw_uid=uid, pw_gid=gid, pw_gecos=comment)

    def group(self, name: str, gid: int, *members: str) -> None:
        self.groups[name] = SimpleNamespace(gr_name=name, gr_gid=gid, gr_mem=list(members))

    def both(self, name: str, number: int) -> None:
        self.user(name, number)
        self.group(name, number)

    def of_gid(self, gid: int) -> Any:
        return next((one for one in self.groups.values() if one.gr_gid == gid), None) or self.groups[""]


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> Accounts:
    made = Accounts()
    made.user("root", 0, comment="root")
    made.group("root", 0)
    made.group("www-data", FRONT)
    for module in (app_users, renaming):
        monkeypatch.setattr(module.pwd, "getpwnam", made.users.__getitem__)
        monkeypatch.setattr(module.pwd, "getpwall", lambda: list(made.users.values()))
        monkeypatch.setattr(module.grp, "getgrnam", made.groups.__getitem__)
        monkeypatch.setattr(module.grp, "getgrgid", made.of_gid)
    return made


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the paths of `layout` lie. Other users may pass, which pytest's own directories do not let them."""
    # The one of root's own: pytest's lies below a directory of whoever runs it.
    top = Path(tempfile.mkdtemp(prefix="accounts-"))
    top.chmod(0o711)
    for name in ("APPS", "RUN", "CONFIG", "UNITS", "HOST_STATE"):
        directory = top / name.lower()
        directory.mkdir(mode=0o711)
        monkeypatch.setattr(layout, name, str(directory))
    monkeypatch.setattr(layout, "SIZES", f"{layout.HOST_STATE}/sizes.json")
    for emperor in ("a", "b"):
        os.makedirs(layout.vassals(emperor))
    yield top
    shutil.rmtree(top)
