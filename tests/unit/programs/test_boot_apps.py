"""The program that starts what an emperor would start with the next visitor alone."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.programs import boot_apps


class Place:
    """Emperor `a` with vassals, each with a socket; `pids` is what it says of them, and it starts who is connected to."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.vassals = top / "vassals/a"
        self.vassals.mkdir(parents=True)
        self.pids: dict[str, int] = {}
        self.started: list[str] = []
        self.asked = 0
        self._ends = threading.Event()
        self._threads: list[threading.Thread] = []
        self._serve("emperor-a.stats", self._say)

    def vassal(self, name: str, pid: int, *, sleeps: bool = False, bound: bool = True) -> None:
        (self.vassals / name).write_text(f"[uwsgi]\n{'die-on-idle = true' if sleeps else ''}\n")
        self.pids[name] = pid
        if bound:
            path = self._serve(f"{name}.sock", lambda _: self._start(name))
            (self.vassals / f"{name}.socket").write_text(f"{path}\n")

    def run(self, *arguments: str) -> None:
        assert boot_apps.main(*arguments) == 0

    def end(self) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join(timeout=3)

    def _start(self, name: str) -> None:
        self.started.append(name)
        self.pids[name] = 4711

    def _say(self, connection: socket.socket) -> None:
        self.asked += 1
        vassals = [{"id": name, "pid": pid} for name, pid in self.pids.items()]
        connection.sendall(json.dumps({"vassals": vassals}).encode())

    def _serve(self, name: str, talk: object) -> Path:
        path = self.top / name
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen()
        server.settimeout(0.05)

        def loop() -> None:
            with server:
                while not self._ends.is_set():
                    try:
                        connection, _ = server.accept()
                    except TimeoutError:
                        continue
                    with connection:
                        talk(connection)  # type: ignore[operator]

        self._threads.append(threading.Thread(target=loop, daemon=True))
        self._threads[-1].start()
        return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(layout, "CONFIG", str(tmp_path))
    monkeypatch.setattr(layout, "RUN", str(tmp_path))
    monkeypatch.setattr(boot_apps, "AT_START", 1)
    monkeypatch.setattr(boot_apps, "AFTER_A_FALL", 3)
    made = Place(tmp_path)
    yield made
    made.end()


def test_all_that_does_not_run_is_started_but_for_what_may_sleep(place: Place) -> None:
    place.vassal("blog@7.ini", -1)
    place.vassal("shop@2.ini", -1)
    place.vassal("runs@1.ini", 33)
    place.vassal("nap@4.ini", -1, sleeps=True)
    # Of an earlier version: it binds its socket by itself.
    place.vassal("old@1.ini", -1, bound=False)
    place.run("a")
    assert sorted(place.started) == ["blog@7.ini", "shop@2.ini"]


def test_one_that_has_fallen_is_started_when_the_emperor_knows_it_again(place: Place) -> None:
    place.vassal("blog@7.ini", -1)
    place.vassal("shop@2.ini", -1)
    del place.pids["blog@7.ini"]
    bound = threading.Timer(0.6, lambda: place.pids.setdefault("blog@7.ini", -1))
    bound.start()
    place.run("a", "blog@7.ini")
    assert place.started == ["blog@7.ini"]
    assert place.asked > 1


def test_one_that_was_stopped_meanwhile_is_not(place: Place) -> None:
    place.run("a", "gone@7.ini")
    assert place.started == []
    assert place.asked == 0


def test_it_gives_up(place: Place) -> None:
    """What the emperor does not know, as it falls again and again, is started by a visitor."""
    place.vassal("blog@7.ini", -1)
    del place.pids["blog@7.ini"]
    place.run("a")
    assert place.started == []
