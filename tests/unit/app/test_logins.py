"""Who may log in to deploy an app, and what a login may ask for."""

from __future__ import annotations

import itertools
import os
import pwd
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.app import logins
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.operate import login
from ansible_collections.emperor.stack.plugins.module_utils.programs import deploy_login
from hypothesis import given
from hypothesis import strategies as st

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJNjj7Eb4OTDwSxQFUCE28OoLcHVuCFgpzbHLcBSYVF7"


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The users of a host, which useradd and userdel change; `calls` has the commands."""
    monkeypatch.setattr(layout, "LOGINS", str(tmp_path / "logins"))
    monkeypatch.setattr(os, "fchown", lambda *_: None)
    known: dict[str, Any] = {}
    calls: list[list[str]] = []

    def getpwnam(name: str) -> Any:
        return known[name]

    def kill(uid: int) -> None:
        calls.append(["kill", str(uid)])

    def run(command: list[str], **_: Any) -> str:
        calls.append(command)
        if command[0] == "useradd":
            values = dict(itertools.pairwise(command))
            known[command[-1]] = SimpleNamespace(
                pw_name=command[-1],
                pw_uid=990,
                pw_gecos=values["--comment"],
                pw_shell=values["--shell"],
                pw_dir=values["--home-dir"],
            )
        elif command[0] == "userdel":
            del known[command[-1]]
        elif command[0] == "rm":
            for path in sorted(Path(command[-1]).rglob("*"), reverse=True):
                path.unlink() if path.is_file() else path.rmdir()
            Path(command[-1]).rmdir()
        return ""

    monkeypatch.setattr(pwd, "getpwnam", getpwnam)
    monkeypatch.setattr(pwd, "getpwall", lambda: list(known.values()))
    monkeypatch.setattr(logins, "run", run)
    monkeypatch.setattr(logins.ending, "kill", kill)
    return {"known": known, "calls": calls}


def app(*keys: str) -> dict[str, Any]:
    return {"name": "blog", "deploy_keys": list(keys), "pushed": False}


def test_a_login_has_roots_keys_and_a_shell_that_is_none(users: dict[str, Any]) -> None:
    assert list(logins.ensure(app(f"{KEY} ci server"), True)) == [
        "user deploy_blog: created",
        f"{layout.login_keys('blog')}: written",
    ]
    assert users["calls"] == [] and not os.path.exists(layout.LOGINS)
    assert len(list(logins.ensure(app(f"{KEY} ci server"), False))) == 2
    made = users["known"]["deploy_blog"]
    assert made.pw_shell == "/usr/local/lib/emperor-stack/deploy-shell"
    assert made.pw_dir == layout.login_home("blog")
    keys = Path(layout.login_keys("blog")).read_text().splitlines()
    assert keys[1:] == [f'restrict,command="ci-server" {KEY}']
    assert os.stat(layout.login_keys("blog")).st_mode & 0o777 == 0o644
    assert list(logins.ensure(app(f"{KEY} ci server"), False)) == []


def test_keys_that_go_and_come(users: dict[str, Any]) -> None:
    list(logins.ensure(app(f"{KEY} one"), False))
    assert list(logins.take_away("blog", [f"{KEY} two"], False)) == []
    (line,) = logins.ensure(app(f"{KEY} two"), False)
    assert line.endswith("authorized_keys: written")
    assert 'command="two"' in Path(layout.login_keys("blog")).read_text()
    assert list(logins.take_away("blog", [], False)) == ["user deploy_blog: removed"]
    assert users["known"] == {} and not os.path.lexists(layout.login_home("blog"))
    assert list(logins.ensure(app(), False)) == list(logins.take_away("blog", [], False)) == []
    # Before the user: its number would be the next login's, and a connection that stands asks for no key again.
    assert [call[0] for call in users["calls"][-3:]] == ["rm", "kill", "userdel"]


def test_a_key_that_goes_takes_its_sessions_along(users: dict[str, Any]) -> None:
    other = KEY.replace("AAAAI", "AAAAJ")
    list(logins.ensure(app(f"{KEY} one", f"{other} two"), False))
    (line,) = logins.take_away("blog", [f"{other} three"], True)
    assert line.endswith("authorized_keys: 1 key(s) taken away")
    assert KEY in Path(layout.login_keys("blog")).read_text() and ["kill", "990"] not in users["calls"]
    assert list(logins.take_away("blog", [f"{other} three"], False)) == [line]
    text = Path(layout.login_keys("blog")).read_text()
    assert KEY not in text and f'command="two" {other}' in text
    assert users["calls"][-1] == ["kill", "990"]


def test_who_may_log_in_for_which_apps(users: dict[str, Any]) -> None:
    assert logins.there() == []
    list(logins.ensure(app(KEY), False))
    users["known"]["ann"] = SimpleNamespace(pw_name="ann", pw_gecos="Ann", pw_uid=1000)
    os.makedirs(layout.login_home("shop"))
    assert logins.there() == ["blog", "shop"]


def test_a_user_of_somebody_else_is_left_alone(users: dict[str, Any]) -> None:
    users["known"]["deploy_blog"] = SimpleNamespace(
        pw_name="deploy_blog", pw_uid=1000, pw_gecos="Ann", pw_shell="/bin/bash"
    )
    with pytest.raises(logins.Taken, match=r"user deploy_blog \(uid 1000, Ann\) exists"):
        list(logins.ensure(app(KEY), False))
    # Nor is it in the way of an app that nobody logs in for.
    assert list(logins.take_away("blog", [], False)) == list(logins.ensure(app(), False)) == []
    logins.forget("blog")
    assert "deploy_blog" in users["known"] and users["calls"] == []


@pytest.mark.parametrize("comment", ['a"b', 'x",command="id', "a\nb", "-" * 80, "ci,from=x", ""])
def test_a_comment_ends_no_option(comment: str) -> None:
    text = logins.keys_text([f"{KEY} {comment}" if comment else KEY])
    _, line = text.splitlines()
    assert line.startswith('restrict,command="') and line.count('"') == 2
    assert line.endswith(f" {KEY}")


# What a login asks for


@pytest.mark.parametrize(
    ("text", "verb", "word"),
    [
        ("", "help", ""),
        ("help", "help", ""),
        ("status", "status", ""),
        ("history", "history", ""),
        ("deploy v1.5", "deploy", "v1.5"),
        ("deploy feature/x-1", "deploy", "feature/x-1"),
        ("rollback", "rollback", ""),
        ("rollback 20261122T193000-ab12cd3", "rollback", "20261122T193000-ab12cd3"),
    ],
)
def test_what_may_be_asked_for(text: str, verb: str, word: str) -> None:
    assert login.request(text) == login.Request(verb, word)


@pytest.mark.parametrize(
    "text",
    [
        "deploy",
        "deploy ",
        "deploy  v1",
        "deploy v1 --force",
        "deploy --force",
        "deploy -v",
        "deploy v1;id",
        "deploy v1\nid",
        "deploy v1\n",
        "deploy v1\t",
        "deploy $(id)",
        "deploy `id`",
        "deploy v*",
        "deploy v1|id",
        "deploy v\u0661",
        "deploy v1\u00a0x",
        "deploy ../../x",
        f"deploy {'a' * 400}",
        "DEPLOY v1",
        "rollback x",
        "rollback ../x",
        "rollback --across-migration",
        "status shop",
        "history -n",
        "run blog -- id",
        "emperor status",
        "logs",
        "scp -t /tmp/x",
        "internal-sftp",
        "/usr/lib/openssh/sftp-server",
        "sh -c id",
        "git-upload-pack 'blog'",
        "git-receive-pack '/srv/git/other.git'",
        " status",
        "status ",
        "\x00status",
        "status\x00",
        "\udcff",
    ],
)
def test_nothing_else(text: str) -> None:
    with pytest.raises(login.NotAllowed):
        login.request(text)


@given(st.text())
def test_whatever_comes_is_one_of_the_lines_or_refused(text: str) -> None:
    try:
        asked = login.request(text)
    except login.NotAllowed:
        return
    assert asked.verb in ("help", "deploy", "rollback", "status", "history")
    assert " ".join(word for word in (asked.verb, asked.word) if word) == (text or "help")


@pytest.mark.parametrize("user", ["root", "blog", "deploy_", "deploy-blog", ""])
def test_only_a_login_has_an_app(user: str) -> None:
    with pytest.raises(login.NotAllowed):
        login.app_of(user)


@pytest.mark.parametrize("uid", ["", "0", "-1", "x", "999999"])
def test_the_program_is_for_nobody_else(
    uid: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SUDO_UID", uid)
    monkeypatch.setenv("SSH_ORIGINAL_COMMAND", "status")
    monkeypatch.setattr(deploy_login, "do", lambda *_: pytest.fail("it was done"))
    assert deploy_login.main() == 2
    assert "this login can do" in capsys.readouterr().err


def test_a_login_is_not_told_which_other_apps_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "shop.json").touch()
    monkeypatch.setattr(layout, "KNOWN_APPS", str(tmp_path))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_name="deploy_blog"))
    monkeypatch.setattr(deploy_login.surroundings, "as_a_module_runs", lambda: None)
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    monkeypatch.setenv("SUDO_UID", "990")
    monkeypatch.setenv("SUDO_USER", "deploy_blog")
    monkeypatch.setenv("SSH_ORIGINAL_COMMAND", "status")
    assert deploy_login.main() == 2
    said = capsys.readouterr().err
    assert "does not know how to deploy blog" in said and "shop" not in said
