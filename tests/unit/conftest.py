"""A host of one's own for each test: the paths of `layout` below a temporary directory, and users that are this process."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.files.atomic import link_atomically
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.release.state import AppState, Manifest
from hypothesis import settings

# A machine that is busy with other things is no finding.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

MakeManifest = Callable[..., Manifest]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with app `blog`, whose user and whose front is whoever runs the tests."""
    for name, directory in (
        ("APPS", "apps"),
        ("RUN", "run"),
        ("CONFIG", "etc"),
        ("UNITS", "units"),
        ("TRANSIENT_UNITS", "transient"),
        ("KNOWN_APPS", "known"),
        ("MAINTENANCE", "maintenance"),
    ):
        monkeypatch.setattr(layout, name, str(tmp_path / directory))
    me = SimpleNamespace(pw_uid=os.getuid(), pw_gid=os.getgid(), gr_gid=os.getgid(), pw_gecos="")
    monkeypatch.setattr(pwd, "getpwnam", lambda name: me)
    monkeypatch.setattr(grp, "getgrnam", lambda name: me)
    for make in (layout.releases, layout.activations, layout.shared, layout.state, layout.cache):
        os.makedirs(make("blog"))
    os.makedirs(layout.socket_directory("blog"))
    for emperor in ("a", "b"):
        os.makedirs(layout.vassals(emperor))
    os.makedirs(layout.UNITS)
    return tmp_path


@pytest.fixture
def state(host: Path) -> AppState:
    return AppState("blog")


@pytest.fixture
def manifest() -> MakeManifest:
    def make(release: str, **changes: Any) -> Manifest:
        base: dict[str, Any] = {
            "app": "blog",
            "release": release,
            "revision": "a" * 40,
            "version": "v1",
            "fingerprint": f"2:{'f' * 64}",
            "python": "3.11",
            "created": "2026-11-22T10:00:00Z",
            "health": {"path": "/", "status": [], "answers": 3, "timeout": 2},
            "host": "blog.example.com",
        }
        return Manifest(**{**base, **changes})

    return make


@pytest.fixture
def save(state: AppState, manifest: MakeManifest) -> MakeManifest:
    """A whole release on the host."""

    def make(release: str, **changes: Any) -> Manifest:
        os.makedirs(f"{layout.release('blog', release)}/code", exist_ok=True)
        Path(layout.release("blog", release), "vassal.ini").write_text(f"[uwsgi]\nchdir = {release}\n")
        made = manifest(release, **changes)
        state.save(made)
        return made

    return make


@pytest.fixture
def run_activation(state: AppState) -> Callable[..., str]:
    """An activation of a release with a vassal under an emperor; live where asked."""

    def make(release: str, name: str, live: bool = False, emperor: str | None = "a") -> str:
        directory = f"{layout.activations('blog')}/{name}"
        os.makedirs(directory, exist_ok=True)
        link_atomically(f"../../releases/{release}", f"{directory}/release")
        if emperor:
            link_atomically(
                f"{layout.release('blog', release)}/vassal.ini", f"{layout.vassals(emperor)}/{name}.ini"
            )
        if live:
            link_atomically(f"activations/{name}", layout.active("blog"))
        return name

    return make


@pytest.fixture
def as_myself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of the app's user run as this process."""
    from ansible_collections.emperor.stack.plugins.module_utils.host import command as host_command
    from ansible_collections.emperor.stack.plugins.module_utils.release import build, furnishing
    from ansible_collections.emperor.stack.plugins.module_utils.source import checkout

    def run_as(app: str, argv: Any, *, writable: Any = (), **options: Any) -> str:
        return host_command.run(argv, **options)

    for module in (build, checkout, furnishing):
        monkeypatch.setattr(module, "run_as", run_as)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """`serve(talk)`: a listening unix socket; each connection is handed to *talk*, then closed. Returns its path."""
    stop = threading.Event()
    threads: list[threading.Thread] = []
    listeners: list[socket.socket] = []

    def start(talk: Callable[[socket.socket], None]) -> str:
        path = str(tmp_path / f"s{len(listeners)}.sock")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        listener.listen(5)
        listener.settimeout(0.05)
        listeners.append(listener)

        def loop() -> None:
            while not stop.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(2)
                    try:
                        talk(connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        threads.append(thread)
        return path

    yield start
    stop.set()
    for thread in threads:
        thread.join(timeout=3)
    for listener in listeners:
        listener.close()


@pytest.fixture
def git(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """git without the configuration of whoever runs the tests."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "t",
        "GIT_AUTHOR_EMAIL": "t@example.com",
        "GIT_COMMITTER_NAME": "t",
        "GIT_COMMITTER_EMAIL": "t@example.com",
    }

    def call(directory: Path, *arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(directory), *arguments],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    return call
