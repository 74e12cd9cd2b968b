"""Files that an app moved into a served directory become readable for the web server, and nothing else does."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.app import readable
from ansible_collections.emperor.stack.plugins.module_utils.host import layout


def put(path: Path, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    path.chmod(mode)
    return path


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize(
    ("before", "after"), [(0o600, 0o644), (0o640, 0o644), (0o604, 0o644), (0o700, 0o744)]
)
def test_a_file_can_be_read_then(tmp_path: Path, before: int, after: int) -> None:
    file = put(tmp_path / "2026" / "moved.txt", before)
    assert readable.allow(str(tmp_path), "2026//moved.txt")
    assert mode(file) == after
    assert not readable.allow(str(tmp_path), "2026/moved.txt"), "nothing is left to change"


def test_what_lies_elsewhere_stays_as_it_is(tmp_path: Path) -> None:
    served, outside = tmp_path / "served", put(tmp_path / "secret")
    put(served / "inner" / "moved")
    (served / "link").symlink_to(outside)
    (served / "directory").symlink_to(tmp_path)
    os.mkfifo(served / "pipe", 0o600)
    for name in (
        "link", "directory/secret", "../secret", "inner/../../secret", "inner/..", "pipe", "inner", "", "/", ".",
        "none", "none/moved", "inner/moved/x", "moved\0", "in\0ner/moved",
    ):  # fmt: skip
        assert not readable.allow(str(served), name), name
    assert mode(outside) == mode(served / "pipe") == mode(served / "inner" / "moved") == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files of others")
def test_a_file_of_somebody_else_stays_as_it_is(tmp_path: Path) -> None:
    file = put(tmp_path / "others")
    os.chown(file, 12345, 12345)
    assert not readable.allow(str(tmp_path), "others")
    assert mode(file) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
@pytest.mark.parametrize("owner", [12345, 12346])
def test_the_app_changes_what_is_its_own_and_cannot_stop_who_does_it(
    place: Path, monkeypatch: pytest.MonkeyPatch, owner: int
) -> None:
    file = put(place / "moved")
    os.chown(file, owner, owner)
    place.chmod(0o755)
    account = SimpleNamespace(pw_uid=12345, pw_gid=12345)
    monkeypatch.setattr(pwd, "getpwnam", lambda _: account)
    real, fork = readable.allow, os.fork
    tried: list[int] = []

    def slowly(directory: str, name: str) -> bool:
        time.sleep(0.5)
        return real(directory, name)

    def stop(pid: int) -> None:
        time.sleep(0.2)
        words = ["setpriv", "--reuid=12345", "--clear-groups", "--", "kill", "-STOP", str(pid)]
        tried.append(subprocess.run(words, capture_output=True, check=False).returncode)
        time.sleep(1)
        os.kill(pid, signal.SIGCONT) if tried == [0] else None

    def watched() -> int:
        pid = fork()
        if pid:
            threading.Thread(target=stop, args=(pid,)).start()
        return pid

    monkeypatch.setattr(readable, "allow", slowly)
    monkeypatch.setattr(os, "fork", watched)
    assert readable.as_app("blog", str(place), "moved") is (owner == 12345)
    assert mode(file) == (0o644 if owner == 12345 else 0o600)
    while not tried:
        time.sleep(0.05)
    assert tried != [0]


def question(**changes: str) -> dict[str, str]:
    words = {"APP": "blog", "KEPT": "media", "URL": "/media/", "FILE": "/media/a b.txt", "PREFIX": "/shop"}
    return {**words, **changes}


@pytest.fixture
def asked(host: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """What the app's user is asked to do; it always can."""
    found: list[tuple[str, str, str]] = []
    Path(layout.shared("blog")).mkdir(parents=True, exist_ok=True)

    def as_app(*words: str) -> bool:
        found.append(words)  # type: ignore[arg-type]
        return True

    monkeypatch.setattr(readable, "as_app", as_app)
    return found


def test_nginx_looks_once_more(asked: list[tuple[str, str, str]]) -> None:
    assert readable.answer(question()) == "Status: 200 OK\r\nX-Accel-Redirect: /shop/media/a%20b.txt\r\n\r\n"
    assert asked == [("blog", f"{layout.shared('blog')}/media", "a b.txt")]
    told = readable.answer(question(FILE="/media/a\r\nSet-Cookie: x", PREFIX=""))
    assert told.count("\r\n") == 3 and "/media/a%0D%0ASet-Cookie%3A%20x" in told


@pytest.mark.parametrize(
    "changes",
    [
        {"APP": "../etc"}, {"APP": "shop"}, {"APP": ""}, {"FILE": "/other/x"}, {"KEPT": "../x"}, {"KEPT": ""},
        {"KEPT": "/etc"}, {"KEPT": "media/../.."},
    ],
)  # fmt: skip
def test_questions_that_nginx_never_asks(asked: list[Any], changes: dict[str, str]) -> None:
    assert readable.answer(question(**changes)) == readable.NO
    assert asked == []


def netstring(words: dict[str, str]) -> bytes:
    text = "".join(f"{name}\0{value}\0" for name, value in words.items()).encode()
    return b"%d:%s," % (len(text), text)


def test_questions_come_one_after_the_other_until_none_comes(asked: list[Any], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen()
        serving = threading.Thread(target=readable.serve, args=(listening, 0.5))
        serving.start()
        for sent in (b"", b"no number:", b"9999999:x", netstring(question()), b"5:x"):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(tmp_path / "socket"))
                client.sendall(sent)
                client.shutdown(socket.SHUT_WR)
                told = client.recv(4096).decode()
            assert told.startswith("Status: 200" if b"blog" in sent else ""), sent
            assert bool(told) == (b"blog" in sent)
        serving.join(10)
        assert not serving.is_alive()
    assert len(asked) == 1
