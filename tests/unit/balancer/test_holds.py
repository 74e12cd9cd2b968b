"""What is held out at a balancer: the list that HAProxy reads, and what its socket is told."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.balancer import holds, naming, running

BLOG = holds.Hold("blog", "a1.example.com")
WIKI = holds.Hold("wiki", "a2")

STAT = """# pxname,svname,scur,stot,status,econ,eresp,wretr,wredis,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,
public,FRONTEND,1,5,OPEN,,,,,,,,,
app_blog,a1.example.com,2,17,UP,1,2,3,4,10,0,5,6,
app_blog,a2,0,0,UP,0,0,0,0,,,,,
app_blog,BACKEND,2,17,UP,1,2,3,4,10,0,5,6,
app_wiki,a2,0,,MAINT,0,0,0,0,,,,,
app_wiki,a3,0,,UP,0,0,0,0,,,,,
status,BACKEND,0,0,UP,,,,,,,,,
"""


class Haproxy:
    """Answers at a socket as HAProxy does, and remembers what it was told."""

    def __init__(self, path: str) -> None:
        self.told: list[str] = []
        self.refuses = ""
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                command = connection.recv(4096).decode().strip()
                if command == "show stat":
                    connection.sendall(STAT.encode())
                elif command == "show info":
                    connection.sendall(b"Name: HAProxy\nPid: 4711\n")
                else:
                    self.told.append(command)
                    connection.sendall((self.refuses + "\n").encode())


@pytest.fixture
def haproxy(tmp_path: Path) -> Iterator[Haproxy]:
    made = Haproxy(str(tmp_path / "socket"))
    yield made
    made.listener.close()


def change(
    tmp_path: Path, out: list[holds.Hold], back: list[holds.Hold], check_mode: bool = False
) -> tuple[bool, set[holds.Hold]]:
    return holds.change(out, back, check_mode, str(tmp_path), str(tmp_path / "socket"))


def test_a_hold_is_written_for_the_next_start_and_told_at_once(tmp_path: Path, haproxy: Haproxy) -> None:
    assert change(tmp_path, [BLOG], []) == (True, {BLOG})
    text = (tmp_path / holds.NAME).read_text()
    assert f"setenv {naming.variable('blog', 'a1.example.com')} disabled\n" in text
    assert haproxy.told == ["set server app_blog/a1.example.com state maint"]
    assert holds.held(str(tmp_path)) == {BLOG}


def test_what_is_in_maintenance_already_is_left_as_it_is(tmp_path: Path, haproxy: Haproxy) -> None:
    assert change(tmp_path, [WIKI], []) == (True, {WIKI})
    assert change(tmp_path, [WIKI], []) == (False, {WIKI})
    assert haproxy.told == []


def test_only_what_was_held_is_let_in_again(tmp_path: Path, haproxy: Haproxy) -> None:
    assert change(tmp_path, [], [WIKI]) == (False, set())
    change(tmp_path, [WIKI, BLOG], [])
    haproxy.told.clear()
    assert change(tmp_path, [], [WIKI]) == (True, {BLOG})
    assert haproxy.told == ["set server app_wiki/a2 state ready"]


def test_a_balancer_that_does_not_run_or_does_not_know_the_host_keeps_the_hold(
    tmp_path: Path, haproxy: Haproxy
) -> None:
    unknown = holds.Hold("new", "a9")
    assert change(tmp_path, [unknown], []) == (True, {unknown})
    haproxy.listener.close()
    os.unlink(tmp_path / "socket")
    assert change(tmp_path, [BLOG], []) == (True, {BLOG, unknown})
    assert haproxy.told == []


def test_no_app_loses_its_last_host(tmp_path: Path, haproxy: Haproxy) -> None:
    other = holds.Hold("blog", "a2")
    assert change(tmp_path, [BLOG, other, WIKI], []) == (True, {WIKI})
    assert change(tmp_path, [BLOG], []) == (True, {BLOG, WIKI})
    haproxy.told.clear()
    assert change(tmp_path, [other], []) == (False, {BLOG, WIKI})
    assert haproxy.told == []
    # It changes places with one that is let in at the same time.
    assert change(tmp_path, [other], [BLOG]) == (True, {other, WIKI})


def test_no_app_loses_the_last_host_that_answers(tmp_path: Path, haproxy: Haproxy) -> None:
    # The other one of wiki is drained, down or in maintenance.
    last = holds.Hold("wiki", "a3")
    assert change(tmp_path, [last, BLOG], []) == (True, {BLOG})
    # One that does not answer either is held out: it must not come back by itself.
    assert change(tmp_path, [WIKI], []) == (True, {BLOG, WIKI})
    assert change(tmp_path, [last], [WIKI]) == (True, {BLOG, last})


def test_check_mode_writes_and_tells_nothing(tmp_path: Path, haproxy: Haproxy) -> None:
    assert change(tmp_path, [BLOG], [], check_mode=True) == (True, {BLOG})
    assert not (tmp_path / holds.NAME).exists() and haproxy.told == []


def test_a_refusal_of_haproxy_is_an_error_with_its_words(tmp_path: Path, haproxy: Haproxy) -> None:
    haproxy.refuses = "Permission denied"
    with pytest.raises(
        running.NoAnswer, match=r"refuses to set blog on a1\.example\.com to maint: Permission denied"
    ):
        change(tmp_path, [BLOG], [])


def test_a_machine_without_balancer_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(holds.NoBalancer, match=r"run site\.yml"):
        holds.held(str(tmp_path / "missing"))


def test_what_the_configuration_could_not_hold_is_refused() -> None:
    for app, host in (("a b", "h"), ("a", "h\n"), ("", "h"), ("a", "h h"), ("A", "h")):
        with pytest.raises(ValueError, match="is not an app on a host"):
            holds.checked(app, host)


def test_counters_are_those_of_servers(tmp_path: Path, haproxy: Haproxy) -> None:
    servers = running.servers(str(tmp_path / "socket"))
    assert servers.keys() == {"blog", "wiki"} and servers["blog"].keys() == {"a1.example.com", "a2"}
    blog = servers["blog"]["a1.example.com"]
    assert (blog["status"], blog["hrsp_2xx"], blog["hrsp_5xx"], blog["econ"], blog["eresp"]) == (
        "UP",
        10,
        6,
        1,
        2,
    )
    assert servers["wiki"]["a2"]["stot"] == 0
    assert running.process(str(tmp_path / "socket")) == 4711
