"""Statistics of an app's uWSGI: untrusted."""

from __future__ import annotations

import json
import os
import pwd
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.release import lifecycle
from ansible_collections.emperor.stack.plugins.module_utils.uwsgi import stats as uwsgi_stats
from ansible_collections.emperor.stack.plugins.module_utils.uwsgi.sockets import NoAnswer
from ansible_collections.emperor.stack.plugins.module_utils.uwsgi.stats import Stats, Worker

WORKER = {"pid": 8, "status": "idle", "requests": 4, "exceptions": 1, "cores": [{"in_request": 0}]}
GOOD: dict[str, Any] = {"pid": 7, "workers": [WORKER]}
Answer = Callable[[bytes], None]


def said(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def worker(**changes: Any) -> bytes:
    return said(workers=[{**WORKER, **changes}])


@pytest.mark.parametrize(
    ("answer", "busy"),
    [
        (said(), 0),
        (said(version="2.0.21", sockets=[{"queue": "x"}]), 0),
        (said(workers=[]), 0),
        (worker(status="busy"), 1),
        (worker(status="busy3"), 1),
        (worker(status="cheap"), 0),
        (worker(status="idle", cores=[{"in_request": 0}, {"in_request": 1}]), 1),
        (said(workers=[{name: value for name, value in WORKER.items() if name != "cores"}]), 0),
        (worker(requests=2**64 - 1), 0),
    ],
)
def test_what_makes_sense(answer: bytes, busy: int) -> None:
    assert uwsgi_stats.parse(answer).busy == busy


def test_all_of_it() -> None:
    found = uwsgi_stats.parse(said())
    assert found == Stats(7, (Worker(8, False, 4, 1),))
    assert found.pids == {7, 8}


NONSENSE = {
    "nothing": b"",
    "half": b"{",
    "no utf-8": b'{"pid": "\xff\xfe"}',
    "utf-16": json.dumps(GOOD).encode("utf-16") + b"\xd8",
    "nested": b"[" * 200_000 + b"]" * 200_000,
    "nested deep": b'{"a":' * 100_000,
    "a list": b"[]",
    "a number": b"3",
    "null": b"null",
    "digits without an end": b'{"pid": ' + b"9" * 100_000 + b"}",
    "no workers": said(workers=None),
    "workers that are none": said(workers={"0": 1}),
    "workers that are numbers": said(workers=[1]),
    "workers without an end": said(workers=[WORKER] * 2000),
    "a pid that is text": said(pid="7"),
    "a pid below 0": said(pid=-1),
    "a pid that is true": said(pid=True),
    "a pid that is half": said(pid=7.5),
    "a pid that is no number": b'{"pid": NaN, "workers": []}',
    "a pid that is endless": b'{"pid": 1e999, "workers": []}',
    "no pid": said(pid=None),
    "a status that is a number": worker(status=1),
    "a status that is a list": worker(status=["busy"]),
    "cores that are none": worker(cores=None),
    "cores that are text": worker(cores="x"),
    "cores of text": worker(cores=["x"]),
    "in a request by a word": worker(cores=[{"in_request": "yes"}]),
    "requests without an end": worker(requests=2**64),
    "requests below 0": worker(requests=-1),
    "exceptions of a worker": worker(exceptions={"a": 1}),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_no_answer(name: str) -> None:
    with pytest.raises(NoAnswer, match=r"^its statistics "):
        uwsgi_stats.parse(NONSENSE[name])


# The socket


@pytest.fixture
def answering(host: Path) -> Iterator[Callable[[Callable[[socket.socket], None]], None]]:
    """`answering(talk)`: the statistics socket of blog@1; each connection is handed to *talk*."""
    ends = threading.Event()
    opened: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(talk: Callable[[socket.socket], None]) -> None:
        server = socket.socket(socket.AF_UNIX)
        server.bind(layout.stats_socket("blog", "blog@1"))
        server.listen()
        server.settimeout(0.05)
        opened.append(server)

        def loop() -> None:
            while not ends.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    try:
                        talk(connection)
                    except OSError:
                        continue

        threads.append(threading.Thread(target=loop, daemon=True))
        threads[-1].start()

    yield start
    ends.set()
    for thread in threads:
        thread.join(timeout=3)
    for server in opened:
        server.close()


def test_they_are_read(answering: Callable[..., None]) -> None:
    answering(lambda connection: connection.sendall(said()))
    assert uwsgi_stats.read("blog", "blog@1") == Stats(7, (Worker(8, False, 4, 1),))


def test_an_earlier_versions_are_found(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(uwsgi_stats, "_ask", lambda path, *_: asked.append(path) or said())
    uwsgi_stats.read("blog", "blog@1")
    os.makedirs(layout.old_socket_directory("blog"))
    Path(layout.old_stats_socket("blog", "blog@1")).write_text("")
    uwsgi_stats.read("blog", "blog@1")
    assert asked == [layout.stats_socket("blog", "blog@1"), layout.old_stats_socket("blog", "blog@1")]


def flood(connection: socket.socket) -> None:
    while True:
        connection.sendall(b" " * 65536)


def drip(connection: socket.socket) -> None:
    for _ in range(100):
        connection.sendall(b" ")
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("talk", "says"), [(flood, "sends more than 4194304 bytes"), (drip, "timed out")], ids=["flood", "drip"]
)
def test_an_answer_without_an_end(answering: Callable[..., None], talk: Any, says: str) -> None:
    answering(talk)
    with pytest.raises(NoAnswer, match=says):
        uwsgi_stats.read("blog", "blog@1", timeout=0.5)


@pytest.mark.parametrize(
    "kind", ["nothing", "file", "directory", "link", "fifo", "directory link", "no directory"]
)
def test_what_is_no_socket_of_the_apps(host: Path, kind: str) -> None:
    """Nothing behind it is opened: a fifo would hang whoever does."""
    path, elsewhere = Path(layout.stats_socket("blog", "blog@1")), host / "elsewhere"
    elsewhere.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(elsewhere / "blog@1.stats"))
        server.listen()
        if kind == "file":
            path.write_text(said().decode())
        elif kind == "directory":
            path.mkdir()
        elif kind == "link":
            path.symlink_to(elsewhere / "blog@1.stats")
        elif kind == "fifo":
            os.mkfifo(path)
        elif "directory" in kind:
            path.parent.rmdir()
            if kind == "directory link":
                path.parent.symlink_to(elsewhere)
        with pytest.raises(NoAnswer):
            uwsgi_stats.read("blog", "blog@1", timeout=0.5)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_only_the_apps_user_answers(answering: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    answering(lambda connection: connection.sendall(said()))
    other = SimpleNamespace(pw_uid=os.getuid() + 1, pw_gid=os.getgid())
    monkeypatch.setattr(pwd, "getpwnam", lambda _: other)
    with pytest.raises(NoAnswer, match="another user answers"):
        uwsgi_stats.read("blog", "blog@1")


def test_an_app_without_a_user_has_none(monkeypatch: pytest.MonkeyPatch, host: Path) -> None:
    monkeypatch.setattr(pwd, "getpwnam", lambda name: {}[name])
    with pytest.raises(NoAnswer, match="there is no user blog"):
        uwsgi_stats.read("blog", "blog@1")


def test_the_socket_goes_and_nothing_else(host: Path) -> None:
    path, elsewhere = Path(layout.stats_socket("blog", "blog@1")), host / "elsewhere"
    uwsgi_stats.forget("blog", "blog@1")
    path.write_text("")
    uwsgi_stats.forget("blog", "blog@1")
    assert not path.exists()
    elsewhere.mkdir()
    (elsewhere / path.name).write_text("")
    path.parent.rmdir()
    path.parent.symlink_to(elsewhere)
    uwsgi_stats.forget("blog", "blog@1")
    assert (elsewhere / path.name).exists()
    path.parent.unlink()
    path.mkdir(parents=True)
    uwsgi_stats.forget("blog", "blog@1")
    assert path.is_dir()


# Memory


def test_memory_is_that_of_the_apps_own_processes() -> None:
    mine = os.getuid()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        both = uwsgi_stats.memory([os.getpid(), process.pid], mine)
        one = uwsgi_stats.memory([os.getpid(), os.getpid()], mine)
        assert both > one > 1000
        assert uwsgi_stats.memory([os.getpid(), process.pid], mine + 1) == 0
        process.communicate(b"\n")
    assert uwsgi_stats.memory([process.pid, 2**63, 0], mine) == 0


def test_a_summary_has_what_makes_sense(answering: Callable[..., None]) -> None:
    answer = [said()]
    answering(lambda connection: connection.sendall(answer[0]))
    found = lifecycle.activation_summary("blog", "blog@1")
    assert (found["running"], found["workers"], found["requests"], found["exceptions"]) == (True, 1, 4, 1)
    answer[0] = NONSENSE["nested"]
    assert lifecycle.activation_summary("blog", "blog@1") == {"activation": "blog@1", "running": False}
