"""Users and directories of a host's apps: what is one app's own trouble, and what is the whole host's."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.app import accounts as app_accounts
from ansible_collections.emperor.stack.plugins.module_utils.app import logins, renaming, traces
from ansible_collections.emperor.stack.plugins.module_utils.app import users as app_users
from ansible_collections.emperor.stack.plugins.module_utils.host import layout, sizing
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed

from .conftest import APP, Accounts

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")

Ask = Callable[..., dict[str, Any]]


def declared(name: str, renamed_from: str | None = None, *persistent: str) -> dict[str, Any]:
    size = {"web": {"processes": 1}, "limits": {"memory": None}, "on_demand": False, "workers": {}}
    kept = [{"path": path, "served": False} for path in persistent]
    return {
        "name": name,
        "renamed_from": renamed_from,
        "persistent": kept,
        "deploy_keys": [],
        "pushed": False,
        "size": size,
    }


@pytest.fixture
def commands(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What useradd and groupadd were asked for; they do it in *accounts*."""
    given: list[str] = []

    def run(argv: Sequence[str], **_: Any) -> str:
        name, words = argv[-1], dict(zip(argv, [*argv[1:], ""], strict=True))
        given.append(f"{argv[0]} {name}")
        if argv[0] == "groupadd":
            accounts.group(name, int(words["--gid"]))
            return ""
        uid = int(words.get("--uid", APP + 100 + len(accounts.users)))
        accounts.user(name, uid, accounts.groups[words["--gid"]].gr_gid if "--gid" in words else uid)
        if "--user-group" in argv:
            if name in accounts.groups:
                raise CommandFailed("making user", "useradd", "exit status 9", f"group {name} exists")
            accounts.group(name, uid)
        return ""

    for module in (app_users, renaming):
        monkeypatch.setattr(module, "run", run)
    return given


@pytest.fixture
def ask(place: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    monkeypatch.setattr(sizing, "here", lambda *_: sizing.Host(2, 4000, 80))
    monkeypatch.setattr(app_accounts, "found_apps", lambda: [])

    def call(*apps: dict[str, Any], check_mode: bool = False) -> dict[str, Any]:
        params = {"apps": list(apps), "leaving": [], "memory": 90, "process_memory": 80}
        module = SimpleNamespace(params=params, check_mode=check_mode)
        return app_accounts.ensure_all(module)  # type: ignore[arg-type]

    return call


def tree(name: str) -> dict[str, str]:
    found = {}
    for top in (layout.app_root(name), layout.socket_directory(name)):
        for directory, _, _ in os.walk(top):
            it = os.stat(directory)
            place = directory.replace(layout.APPS, "").replace(layout.RUN, "run")
            found[place] = f"{it.st_uid}:{it.st_gid} {it.st_mode & 0o7777:o}"
    return found


@as_root
def test_an_app_gets_a_user_and_its_directories(commands: list[str], accounts: Accounts, ask: Ask) -> None:
    preview = ask(declared("blog", None, "data/media"), check_mode=True)
    assert preview["apps"] == {"blog": {"changes": ["user blog: created"]}}
    assert commands == []
    made = ask(declared("blog", None, "data/media"))
    uid, front = accounts.users["blog"].pw_uid, accounts.groups["www-data"].gr_gid
    assert commands == ["useradd blog"]
    assert tree("blog") == {
        "/blog": "0:0 711",
        "/blog/releases": "0:0 711",
        "/blog/activations": "0:0 711",
        "/blog/state": "0:0 700",
        "/blog/cache": f"{uid}:{uid} 700",
        "/blog/cache/tmp": f"{uid}:{uid} 700",
        "/blog/shared": "0:0 711",
        "/blog/shared/data": "0:0 711",
        "/blog/shared/data/media": f"{uid}:{uid} 700",
        "run/sockets/blog": f"0:{front} 750",
    }
    assert made["changed"]
    assert made["processes"] == {"blog": 1}
    again = ask(declared("blog", None, "data/media"))
    assert (again["changed"], again["changes"], again["apps"]) == (False, [], {"blog": {}})


#: What is wrong with app `bad`, how it comes about, and what is said of it.
TROUBLE: dict[str, tuple[Callable[[Accounts], Any], str]] = {
    "a link in the place of ~/tmp": (
        lambda accounts: (
            os.makedirs(layout.cache("bad")),
            os.symlink("/etc", layout.temporary("bad")),
            accounts.both("bad", APP),
        ),
        "cache/tmp is a link, but must be a directory",
    ),
    "a file in the place of ~": (
        lambda accounts: (
            os.makedirs(layout.app_root("bad")),
            Path(layout.cache("bad")).touch(),
            accounts.both("bad", APP),
        ),
        "bad/cache is a file, but must be a directory",
    ),
    "somebody's user": (
        lambda accounts: (accounts.user("bad", 34, comment="backup"), accounts.group("bad", 34)),
        "user bad (uid 34, backup) exists and was not created for an app. Rename the app, or remove that user (userdel bad)",
    ),
    "somebody's group": (
        lambda accounts: accounts.group("bad", 101, "ann", "bob"),
        "group bad (gid 101, with ann, bob in it) exists without a user of that name, so it was not created for an app. "
        "Rename the app, or remove that group if nothing needs it (groupdel bad)",
    ),
    "a user with another group": (
        lambda accounts: (accounts.user("bad", APP), accounts.group("bad", 101)),
        f"group bad (gid 101) is not the group of user bad (gid {APP})",
    ),
    "a group lost, its number given to others": (
        lambda accounts: (accounts.user("bad", APP), accounts.group("docker", APP)),
        f"user bad has the gid {APP}, which now belongs to group docker",
    ),
    "root by another name": (lambda accounts: accounts.both("bad", 0), "user bad has uid 0: it is root"),
    "one uid with a person": (
        lambda accounts: (accounts.both("bad", APP), accounts.user("ann", APP, comment="Ann")),
        f"user bad has the uid {APP} of user ann, so the two are not isolated from each other",
    ),
    "one uid with another app that stays": (
        lambda accounts: (accounts.both("bad", APP), accounts.both("good", APP)),
        f"user bad has the uid {APP} of user good",
    ),
    "two apps, each with data, and one to take over the other": (
        lambda accounts: (accounts.both("bad", APP), accounts.both("before", APP + 1)),
        "bad and before both exist with their own data",
    ),
}


@as_root
@pytest.mark.parametrize("what", TROUBLE)
def test_one_apps_trouble_is_its_own(commands: list[str], accounts: Accounts, ask: Ask, what: str) -> None:
    make, said = TROUBLE[what]
    make(accounts)
    apps = [declared("early"), declared("bad", "before"), declared("late")]
    if "stays" in what:
        apps.append(declared("good"))
    for check_mode in (True, False):
        before = tree("bad"), list(accounts.users), list(accounts.groups)
        found = ask(*apps, check_mode=check_mode)
        assert said in found["apps"]["bad"]["error"]
        if "cache" not in said:
            assert found["apps"]["bad"]["error"].endswith(". Nothing of it was changed")
            assert "changes" not in found["apps"]["bad"]
            assert tree("bad") == before[0]
        assert not [name for name in ("early", "late") if found["apps"][name].get("error")]
        # Its processes count all the same: its live release may run.
        assert set(found["processes"]) == {app["name"] for app in apps}
    assert commands[:2] == ["useradd early", "useradd late"]
    assert len(tree("early")) == len(tree("late")) == 8
    again = ask(*apps)
    assert said in again["apps"]["bad"]["error"]
    assert not [line for line in again["changes"] if "bad" not in line]
    module = SimpleNamespace(
        params={"apps": apps, "leaving": [], "memory": 90, "process_memory": 80}, check_mode=True
    )
    # A run without changes does not pass it over.
    assert any(line.startswith("bad: ") for line in app_accounts.drift(module))  # type: ignore[arg-type]


@as_root
@pytest.mark.parametrize(
    ("left", "made"),
    [
        (lambda accounts: accounts.user("blog", APP), ["groupadd blog"]),
        (lambda accounts: accounts.both("blog", APP), []),
        (lambda accounts: accounts.both("old", APP), ["groupadd blog", "useradd blog"]),
        (lambda accounts: (accounts.both("old", APP), accounts.group("blog", APP)), ["useradd blog"]),
        (lambda accounts: (accounts.both("old", APP), accounts.user("blog", APP)), ["groupadd blog"]),
        (lambda accounts: (accounts.user("old", APP), accounts.both("blog", APP)), []),
    ],
    ids=[
        *("a user without its group", "both", "to be renamed"),
        *("renamed by half: a group", "renamed by half: a user", "the old name by half removed"),
    ],
)
def test_what_a_run_that_died_left_half_made(
    commands: list[str], accounts: Accounts, ask: Ask, left: Callable[[Accounts], Any], made: list[str]
) -> None:
    left(accounts)
    found = ask(declared("blog", "old"))
    assert "error" not in found["apps"]["blog"]
    assert commands == made
    assert accounts.users["blog"].pw_uid == accounts.groups["blog"].gr_gid == APP
    # Never to root, for want of a group.
    assert tree("blog")["/blog/cache"] == f"{APP}:{APP} 700"
    assert not ask(declared("blog", "old"))["changed"]


@pytest.mark.parametrize("by_us", [True, False])
def test_a_user_that_another_run_makes_at_the_same_moment(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch, by_us: bool
) -> None:
    def run(argv: Sequence[str], **_: Any) -> str:
        accounts.both("blog", APP) if by_us else accounts.user("blog", 34, comment="backup")
        raise CommandFailed("making user blog", "useradd", "exit status 9", "user 'blog' already exists")

    monkeypatch.setattr(app_users, "run", run)
    if by_us:
        assert list(app_users.ensure(declared("blog"), False)) == ["user blog: created"]
    else:
        with pytest.raises(CommandFailed):
            list(app_users.ensure(declared("blog"), False))


def test_a_host_without_the_memory_is_refused_as_a_whole(
    commands: list[str], ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizing, "here", lambda *_: sizing.Host(2, 100, 80))
    with pytest.raises(app_accounts.UnsuitableHost, match=r"(?s)want 320 MiB.*Nothing was changed"):
        ask(declared("blog"), declared("shop"))
    assert commands == []
    assert os.listdir(layout.APPS) == []


def test_whatever_an_app_brings_about_the_others_go_on(
    commands: list[str], ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = app_accounts.make_directories

    def make(app: dict[str, Any], check_mode: bool) -> Any:
        if app["name"] == "bad":
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
        return real(app, True)

    monkeypatch.setattr(app_accounts, "make_directories", make)
    found = ask(declared("bad"), declared("good"))
    assert found["apps"]["bad"]["error"].startswith("UnicodeDecodeError: ")
    assert "error" not in found["apps"]["good"]


def test_the_module_does_not_fail_for_one_app(
    commands: list[str], ask: Ask, accounts: Accounts, capsys: pytest.CaptureFixture[str]
) -> None:
    from ansible.module_utils.testing import patch_module_args
    from ansible_collections.emperor.stack.plugins.modules import app_accounts as module

    accounts.group("bad", 101)
    arguments = {"apps": [declared("bad")], "memory": 90, "process_memory": 80}
    with patch_module_args(arguments), pytest.raises(SystemExit):
        module.main()
    result = json.loads(capsys.readouterr().out)
    assert not result.get("failed")
    assert "groupdel bad" in result["apps"]["bad"]["error"]
    assert traces.found_apps


@as_root
def test_nothing_in_the_way_of_an_app_keeps_a_login_alive(
    commands: list[str], accounts: Accounts, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`bad` has put a link in the place of its ~/tmp, `gone` is in the inventory no more; nobody may log in for any."""
    done: list[str] = []
    monkeypatch.setattr(layout, "LOGINS", f"{layout.HOST_STATE}/logins")
    monkeypatch.setattr(logins, "run", lambda words, **_: done.append(f"{words[0]} {words[-1]}"))
    monkeypatch.setattr(logins.ending, "kill", lambda uid: done.append(f"kill {uid}"))
    for number, name in enumerate(("bad", "gone")):
        accounts.user(f"deploy_{name}", 990 + number, comment=f"{logins.MARK}{name}")
        os.makedirs(layout.login_home(name))
    make, _ = TROUBLE["a link in the place of ~/tmp"]
    make(accounts)
    for check_mode in (True, False):
        assert done == []
        found = ask(declared("bad"), check_mode=check_mode)
        assert "cache/tmp is a link" in found["apps"]["bad"]["error"]
        assert found["changed"]
        for name in ("bad", "gone"):
            assert f"user deploy_{name}: removed" in found["apps"][name]["changes"]
    assert done == [
        *(f"rm {layout.login_home('bad')}", "kill 990", "userdel deploy_bad"),
        *(f"rm {layout.login_home('gone')}", "kill 991", "userdel deploy_gone"),
    ]


@as_root
def test_a_persons_user_is_not_in_the_way_of_an_app_without_logins(
    commands: list[str], accounts: Accounts, ask: Ask
) -> None:
    accounts.user("deploy_blog", 1001, comment="Ann")
    assert "error" not in ask(declared("blog"))["apps"]["blog"]
