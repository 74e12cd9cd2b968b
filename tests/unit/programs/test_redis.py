"""What the program of role redis asks a server, and when it restarts it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.database.resp import Connection, RedisError
from ansible_collections.emperor.stack.plugins.module_utils.programs import redis


class Server:
    """It answers what it is told to, and remembers what it was asked."""

    def __init__(self, path: Path) -> None:
        self.answers = {
            "AUTH": b"+OK\r\n",
            "ACL USERS": b"*2\r\n$7\r\ndefault\r\n$9\r\nloaded-d1\r\n",
            "ACL LOAD": b"+OK\r\n",
        }
        self.asked: list[str] = []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            with client, client.makefile("rb") as stream:
                while line := stream.readline():
                    words = []
                    for _ in range(int(line[1:])):
                        length = int(stream.readline()[1:])
                        words.append(stream.read(length + 2)[:-2].decode())
                    said = words[0] if words[0] == "AUTH" else " ".join(words)
                    self.asked.append(said)
                    client.sendall(self.answers.get(said, b"-ERR unknown\r\n"))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    made = Server(tmp_path / "s.sock")
    wanted = {
        "digest": "d1",
        "unit": "u.service",
        "settings": "s1",
        "password": "p",
        "socket": str(tmp_path / "s.sock"),
    }
    (tmp_path / "admin.json").write_text(json.dumps(wanted))
    monkeypatch.setattr(redis, "ADMIN", str(tmp_path / "admin.json"))
    monkeypatch.setattr(redis, "settings_of", lambda _: "s1")
    monkeypatch.setattr(redis, "run", lambda argv, **_: made.asked.append(" ".join(argv)))
    yield made
    made.socket.close()


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["redis", command])
    code = redis.main()
    return code, "".join(capsys.readouterr())


def test_the_digest_is_said_of_a_server_with_these_users_and_settings(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, capsys, "state") == (0, "d1\n")
    server.answers["ACL USERS"] = b"*1\r\n$7\r\ndefault\r\n"
    assert run(monkeypatch, capsys, "state") == (0, "differs\n")
    server.answers["AUTH"] = b"-WRONGPASS invalid\r\n"
    assert run(monkeypatch, capsys, "state") == (0, "differs: WRONGPASS invalid\n")


def test_users_are_loaded_without_a_restart_and_settings_with_one(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, capsys, "apply") == (0, "")
    assert "ACL LOAD" in server.asked and "systemctl restart u.service" not in server.asked
    monkeypatch.setattr(redis, "settings_of", lambda _: "older")
    assert run(monkeypatch, capsys, "apply") == (0, "")
    assert "systemctl restart u.service" in server.asked


def test_users_that_it_refuses_are_an_error(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers["ACL LOAD"] = b"-ERR /x/users.acl:4: Syntax error\r\n"
    assert run(monkeypatch, capsys, "apply") == (1, "ERR /x/users.acl:4: Syntax error\n")


def test_what_is_no_answer_is_an_error(server: Server) -> None:
    server.answers["PING"] = b"HTTP/1.1 400\r\n"
    with (
        Connection(server.socket.getsockname()) as connection,
        pytest.raises(RedisError, match="no answer of Redis"),
    ):
        connection.say("PING")
