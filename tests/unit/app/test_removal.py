"""Removal of exactly one app: what is found, what is refused, what is left when it dies at any point."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import select
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.app import archive as app_archive
from ansible_collections.emperor.stack.plugins.module_utils.app import ending as app_ending
from ansible_collections.emperor.stack.plugins.module_utils.app import removal as app_removal
from ansible_collections.emperor.stack.plugins.module_utils.app import renaming, traces
from ansible_collections.emperor.stack.plugins.module_utils.app.removal import RemovalRefused
from ansible_collections.emperor.stack.plugins.module_utils.files.atomic import link_atomically
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed
from ansible_collections.emperor.stack.plugins.module_utils.release.lock import Lock, Locked
from ansible_collections.emperor.stack.plugins.module_utils.release.state import AppState
from ansible_collections.emperor.stack.plugins.module_utils.systemd import app_units
from ansible_collections.emperor.stack.plugins.module_utils.tls import store as certificate_store

#: Names that a careless pattern would take for `app`'s.
NEAR = ("app2", "my-app", "app-2", "xapp", "ap")

Commands = list[list[str]]


def files_of(name: str) -> list[str]:
    """A path of each kind that an app may have."""
    slice_name = layout.app_slice(name)
    return [
        f"{layout.UNITS}/app_{name}_jobs@7.service",
        f"{layout.UNITS}/app_{name}_jobs@7-2.service",
        f"{layout.UNITS}/app_{name}_web@7.service",
        f"{layout.UNITS}/app_{name}_web@7.socket",
        f"{layout.UNITS}/app_{name}_nightly.timer",
        f"{layout.UNITS}/app_{name}_nightly.service",
        f"{layout.UNITS}/app_{name}_jobs@7.service.new-123",
        f"{layout.UNITS}/{slice_name}",
        f"{layout.UNITS}/timers.target.wants/app_{name}_nightly.timer",
        f"{layout.UNITS}/multi-user.target.wants/app_{name}_jobs@7.service",
        f"{layout.TIMER_STAMPS}/stamp-app_{name}_nightly.timer",
        f"{layout.vassals('a')}/{name}@7.ini",
        f"{layout.vassals('a')}/{name}@7.ini.socket",
        f"{layout.vassals('b')}/{name}@12.ini",
        f"{layout.RUN}/{name}@7.started",
        f"{layout.socket_directory(name)}/{name}@7.sock",
        f"{layout.old_socket_directory(name)}/{name}@7.sock",
        f"{layout.old_waiting_directory(name)}/{name}@7.sock",
        f"{layout.FRONT_LOGS[0]}/{name}.access.log",
        f"{layout.FRONT_LOGS[0]}/{name}.error.log",
        f"{layout.FRONT_LOGS[1]}/{name}.access.log",
        f"{layout.FRONT_LOGS[0]}/{name}.access.log.1",
        f"{layout.FRONT_LOGS[0]}/{name}.error.log.14.gz",
        f"{layout.FRONT_LOGS[0]}/{name}.access.log-20261122.gz",
        f"{layout.shared(name)}/data/kept",
        f"{layout.state(name)}/history.jsonl",
        f"{layout.release(name, '20261122T100000-abc')}/release.json",
        f"{layout.release(name, '20261122T100000-abc')}/environment.json",
        f"{layout.cache(name)}/pip",
    ]


#: Files whose names begin like those of `app`, and belong to nobody or to the user.
LOOKALIKES = (
    "APPS/app@7/data",
    "APPS/app.old/data",
    "APPS/.leaving-app2/data",
    "UNITS/app_app_jobs@7.service.d/limits.conf",
    "UNITS/app_app.service",
    "UNITS/apps-app.slice.d/limits.conf",
    "UNITS/app-app_jobs@7.service",
    "CONFIG/vassals/a/app@7.ini.txt",
    "CONFIG/vassals/a/app@x.ini",
    "RUN/app@7.started.txt",
    "FRONT_LOGS/app.access.log.old",
    "FRONT_LOGS/app.access.logs",
    "FRONT_LOGS/appxaccess.log",
    "FRONT_LOGS/access.log",
    "FRONT_SITES/app2.conf",
)


@pytest.fixture
def accounts() -> dict[str, Any]:
    marked = {"pw_gecos": renaming.MARK}
    names = ("app", *NEAR)
    made = {name: SimpleNamespace(pw_name=name, pw_uid=60000 + i, **marked) for i, name in enumerate(names)}
    return {**made, "backup": SimpleNamespace(pw_name="backup", pw_uid=34, pw_gecos="backup")}


@pytest.fixture
def machine(
    host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accounts: dict[str, Any]
) -> Commands:
    """A host with `app`, apps of near names, and look-alikes. Returns the commands that a removal gave."""
    shutil.rmtree(layout.app_root("blog"))
    shutil.rmtree(layout.socket_directory("blog"))
    for name in ("HOST_STATE", "TIMER_STAMPS", "BACKUPS"):
        monkeypatch.setattr(layout, name, str(tmp_path / name.lower()))
    for name in ("FRONT_SITES", "FRONT_LOCAL", "FRONT_LOGS"):
        both = tuple(str(tmp_path / server / name.lower()) for server in ("nginx", "apache"))
        monkeypatch.setattr(layout, name, both)
    monkeypatch.setattr(layout, "TLS", str(tmp_path / "tls"))
    monkeypatch.setattr(layout, "SIZES", str(tmp_path / "host_state" / "sizes.json"))
    monkeypatch.setattr(layout, "TMPFILES", str(tmp_path / "tmpfiles.conf"))
    monkeypatch.setattr(traces, "ELSEWHERE", (str(tmp_path / "tmp"),))
    monkeypatch.setattr(app_ending, "VASSAL_SECONDS", 0.1)
    monkeypatch.setattr(app_ending, "processes_of", lambda uid: [])
    monkeypatch.setattr(app_ending.lifecycle, "drain", lambda *_: True)
    monkeypatch.setattr(pwd, "getpwnam", accounts.__getitem__)
    monkeypatch.setattr(pwd, "getpwall", lambda: list(accounts.values()))
    for path in [path for name in ("app", *NEAR) for path in files_of(name)]:
        write(path)
    for path in LOOKALIKES:
        place, _, rest = path.partition("/")
        where = getattr(layout, place)
        write(f"{where if isinstance(where, str) else where[0]}/{rest}")
    names = ("app", *NEAR)
    write(layout.SIZES, json.dumps(dict.fromkeys(names, 2)))
    lines = [
        f"d {path(name)} 0750 root root -\n"
        for name in names
        for path in (layout.socket_directory, layout.old_socket_directory, layout.old_waiting_directory)
    ]
    write(layout.TMPFILES, "# ours\n" + "".join(lines))
    commands: Commands = []

    def run(argv: Sequence[str], **options: Any) -> str:
        commands.append(list(argv))
        if argv[0] in ("tar", "rm"):
            subprocess.run(argv, check=True, stdin=options.get("stdin"))
        if argv[0] == "userdel":
            del accounts[argv[-1]]
        return "active\n" if argv[-1] == "nginx.service" else "inactive\n"

    commands_by(run, monkeypatch)
    return commands


def commands_by(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let *run* carry out the commands of a removal."""
    for module in (app_removal, app_archive, app_ending, app_units):
        monkeypatch.setattr(module, "run", run)


def write(path: str, text: str = "x") -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(path).write_text(text)


def files(directory: Path) -> dict[str, float]:
    """Everything below *directory*, with the time of its last change."""
    return {
        str(path): os.lstat(path).st_mtime_ns
        for path in directory.rglob("*")
        if not path.is_dir() or path.is_symlink()
    }


SHARED_FILES = ("sizes.json", "tmpfiles.conf")


def others(found: dict[str, float]) -> dict[str, float]:
    mine = set(files_of("app"))
    return {
        path: when
        for path, when in found.items()
        if path not in mine and not path.endswith(SHARED_FILES) and not path.startswith(layout.BACKUPS)
    }


def test_everything_of_one_app_goes_and_nothing_of_others(machine: Commands, tmp_path: Path) -> None:
    before = files(tmp_path)
    assert set(files_of("app")) <= set(before)
    done = app_removal.remove("app")
    after = files(tmp_path)
    assert others(after) == others(before)
    assert [path for path in files_of("app") if path in after] == []
    assert [name for name in os.listdir(layout.APPS) if name in ("app", ".leaving-app")] == []
    assert set(json.loads(Path(layout.SIZES).read_text())) == set(NEAR)
    assert not re.search(r"/app ", Path(layout.TMPFILES).read_text())
    assert Path(layout.TMPFILES).read_text().count("\nd ") == 3 * len(NEAR)
    assert ["userdel", "app"] in machine
    assert done["user"] == "app"
    assert done["archive"]


@pytest.mark.parametrize("name", NEAR)
def test_the_places_of_two_apps_never_meet(name: str) -> None:
    for directory, pattern in layout.everything_of("app"):
        for other, theirs in layout.everything_of(name):
            examples = [path for path in files_of(name) if os.path.dirname(path) == directory == other]
            assert [path for path in examples if re.fullmatch(pattern, os.path.basename(path))] == []
            assert theirs != pattern or directory != other


def test_found_apps(machine: Commands, accounts: dict[str, Any]) -> None:
    """By any of its traces; other directories and users are none of ours."""
    os.makedirs(f"{layout.APPS}/lost+found")
    os.makedirs(f"{layout.APPS}/pictures")
    accounts["bare"] = SimpleNamespace(pw_name="bare", pw_uid=7, pw_gecos=renaming.MARK)
    write(f"{layout.vassals('b')}/only-vassal@3.ini")
    write(f"{layout.UNITS}/app_only-unit_x@1.service")
    write(f"{layout.UNITS}/{layout.app_slice('only-slice')}")
    os.makedirs(layout.leaving("half"))
    wanted = {"app", *NEAR, "bare", "only-vassal", "only-unit", "only-slice", "half"}
    assert set(traces.found_apps()) == wanted


def test_the_archive(machine: Commands) -> None:
    path = str(app_removal.remove("app")["archive"])
    assert re.fullmatch(rf"{layout.BACKUPS}/app-\d{{8}}T\d{{6}}Z\.tar\.gz", path)
    assert os.stat(path).st_mode & 0o777 == 0o600
    names = subprocess.run(["tar", "-tzf", path], capture_output=True, text=True, check=True).stdout.split()
    assert "shared/data/kept" in names
    assert "state/history.jsonl" in names
    assert "releases/20261122T100000-abc/release.json" in names
    logs = {path.lstrip("/") for path in files_of("app") if os.path.dirname(path) in layout.FRONT_LOGS}
    assert len(logs) > 4 and logs == {name for name in names if ".log" in name}
    assert [name for name in names if "environment" in name] == []


def test_without_an_archive(machine: Commands) -> None:
    assert app_removal.remove("app", archive=False)["archive"] is None
    assert not os.path.exists(layout.BACKUPS)


def test_links_are_not_followed(machine: Commands, tmp_path: Path) -> None:
    write(str(tmp_path / "precious" / "file"))
    for where in (layout.shared("app"), layout.cache("app"), layout.old_socket_directory("app"), layout.RUN):
        os.symlink(
            tmp_path / "precious", f"{where}/link" if where != layout.RUN else f"{where}/app@9.started"
        )
    app_removal.remove("app")
    assert files(tmp_path / "precious")
    assert not os.path.lexists(f"{layout.RUN}/app@9.started")


def test_data_behind_a_link_of_root_stays_and_is_told(machine: Commands, tmp_path: Path) -> None:
    shutil.rmtree(layout.shared("app"))
    write(str(tmp_path / "disk" / "kept"))
    os.symlink(tmp_path / "disk", layout.shared("app"))
    done = app_removal.remove("app")
    assert files(tmp_path / "disk")
    assert done["left"] == [f"{tmp_path / 'disk'}: {layout.shared('app')} is a link to it"]


def test_what_stays_is_told(machine: Commands, tmp_path: Path) -> None:
    of_nginx, of_apache = layout.front_locals("app")
    os.makedirs(of_nginx)
    os.makedirs(of_apache)
    left = [f"{of_nginx}: directives of your own", f"{of_apache}: directives of your own"]
    assert app_removal.remove("app")["left"] == left
    assert os.path.isdir(of_nginx)


def test_files_elsewhere_are_told(machine: Commands, tmp_path: Path, accounts: dict[str, Any]) -> None:
    accounts["app"].pw_uid = os.getuid()
    accounts["app2"].pw_uid = 60099
    write(str(tmp_path / "tmp" / "stray"))
    os.chmod(tmp_path / "tmp", 0o777)
    found = traces.listing("app")
    assert found.left
    assert all(f"owned by uid {os.getuid()}" in line for line in found.left)


# dying


def test_whatever_moment_it_dies_at_the_next_run_finishes(
    machine: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accounts: dict[str, Any]
) -> None:
    """Each command in turn is the last one of a run; the app is always found again and its data is never lost."""
    whole = tmp_path / "whole"
    content = {path: Path(path).read_bytes() for path in files(tmp_path)}
    run = app_removal.run
    deaths = 0
    for last in range(30):
        shutil.rmtree(whole, ignore_errors=True)
        for path, data in content.items():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            Path(path).write_bytes(data)
        shutil.rmtree(layout.BACKUPS, ignore_errors=True)
        accounts["app"] = SimpleNamespace(pw_name="app", pw_uid=60000, pw_gecos=renaming.MARK)
        left = [last]

        def dying(argv: Sequence[str], left: list[int] = left, **options: Any) -> str:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return run(argv, **options)

        commands_by(dying, monkeypatch)
        try:
            app_removal.remove("app")
        except KeyboardInterrupt:
            deaths += 1
            assert "app" in traces.found_apps()
            kept = os.path.exists(f"{layout.shared('app')}/data/kept")
            assert kept or [name for name in os.listdir(layout.BACKUPS) if name.endswith(".tar.gz")]
        commands_by(run, monkeypatch)
        app_removal.remove("app")
        assert [path for path in files_of("app") if os.path.lexists(path)] == []
        assert not os.path.lexists(layout.leaving("app"))
        assert "app" not in accounts
        assert "app" not in traces.found_apps()
        if left[0] > 0:
            break
    assert deaths > 5


def test_what_is_half_deleted_is_not_archived_again(
    machine: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second archive, of what the first run left, would look like the data."""
    run = app_removal.run

    def half(argv: Sequence[str], **options: Any) -> str:
        if argv[0] == "rm":
            for place in (layout.app_root("app"), layout.leaving("app")):
                shutil.rmtree(f"{place}/shared/data", ignore_errors=True)
            raise KeyboardInterrupt
        return run(argv, **options)

    commands_by(half, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        app_removal.remove("app")
    commands_by(run, monkeypatch)
    assert app_removal.remove("app")["archive"] is None
    (name,) = os.listdir(layout.BACKUPS)
    listed = subprocess.run(
        ["tar", "-tzf", f"{layout.BACKUPS}/{name}"], capture_output=True, text=True, check=True
    )
    assert "shared/data/kept" in listed.stdout


def test_nothing_is_deleted_when_the_archive_fails(
    machine: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = app_removal.run

    def failing(argv: Sequence[str], **options: Any) -> str:
        if argv[0] == "tar":
            raise CommandFailed(options["what"], "tar", "exit status 2", "disk quota exceeded")
        return run(argv, **options)

    commands_by(failing, monkeypatch)
    with pytest.raises(CommandFailed, match="before anything was deleted"):
        app_removal.remove("app")
    assert os.path.exists(f"{layout.shared('app')}/data/kept")
    assert os.listdir(layout.BACKUPS) == []
    assert not [command for command in machine if command[0] in ("rm", "userdel")]


# whatever the app does


def deep(top: str, levels: int) -> None:
    """Directories inside of each other, further than any path reaches."""
    here = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d" * 100, dir_fd=here)
        below = os.open("d" * 100, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("lost", os.O_CREAT, 0o600, dir_fd=here))
    os.close(here)


def test_files_as_no_people_make_them(machine: Commands) -> None:
    """The archive takes what can be meant and tells of the rest; all of it goes."""
    data = os.fsencode(f"{layout.shared('app')}/data")
    names = [b"line\nbreak", b"caf\xe9", b"-rf", b"\x1b[2J", b"a b"]
    for name in names:
        Path(os.fsdecode(data + b"/" + name)).write_text("kept")
    os.mkfifo(data + b"/fifo")
    os.symlink("/etc", data + b"/link")
    os.makedirs(data + b"/x" * 90)
    deep(layout.shared("app"), 3000)
    done = app_removal.remove("app")
    assert not os.path.lexists(layout.app_root("app"))
    assert done["left"] == []
    told = "files more than 100 directories deep, or with a path of more than 4000 bytes"
    assert done["not_archived"] == [told]
    path = str(done["archive"])
    with tarfile.open(path, encoding="utf-8", errors="surrogateescape") as archive:
        found = {os.fsencode(member.name): member for member in archive}
        assert archive.extractfile(found[b"shared/data/line\nbreak"]).read() == b"kept"  # type: ignore[union-attr]
    assert {b"shared/data/" + name for name in names} <= set(found)
    assert found[b"shared/data/link"].issym()
    assert b"shared/data" + b"/x" * 90 in found
    assert not [name for name in found if b"lost" in name or b"working" in name]


@pytest.mark.parametrize(("count", "lines"), [(0, 0), (3, 3), (50, 50), (51, 51), (3000, 51)], ids=str)
def test_not_every_file_elsewhere_is_told(
    machine: Commands, tmp_path: Path, accounts: dict[str, Any], count: int, lines: int
) -> None:
    accounts["app"].pw_uid = 61237
    (tmp_path / "tmp").mkdir()
    for number in range(count):
        path = tmp_path / "tmp" / f"\x1b[2J{number:04}"
        path.touch()
        os.chown(path, 61237, -1)
    left = traces.listing("app").left
    assert len(left) == lines
    assert all(line.isprintable() for line in left)
    if count > 50:
        assert left[-1].startswith("… and more, owned by uid 61237: find ")


ANSWERS: dict[str, Callable[[], Any]] = {
    "never": lambda: threading.Event().wait(),
    "nonsense": lambda: int("zz"),
    "of another type": lambda: {}["workers"],
    "deeper than Python goes": lambda: (_ for _ in ()).throw(RecursionError()),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_removal_needs_no_answer_of_the_app(
    machine: Commands, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr(app_ending, "PATIENCE", 0.1)
    monkeypatch.setattr(AppState, "seconds_to_end", lambda *_: 0.1)
    monkeypatch.setattr(app_ending.lifecycle, "drain", lambda *_: ANSWERS[answer]())
    assert app_removal.remove("app")["user"] == "app"


def test_what_does_not_stop_is_killed(machine: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    run, slow = app_removal.run, layout.app_slice("app")

    def stubborn(argv: Sequence[str], **options: Any) -> str:
        said = run(argv, **options)
        stop = list(argv[:2]) == ["systemctl", "stop"]
        if stop and any("web" in word for word in argv):
            raise CommandFailed(options["what"], "systemctl", "still running after 1620 s", "")
        if stop and slow in argv and not any("kill" in one for one in machine):
            raise CommandFailed(options["what"], "systemctl", "still running after 120 s", "")
        return said

    commands_by(stubborn, monkeypatch)
    assert app_removal.remove("app")["user"] == "app"
    assert ["systemctl", "kill", "--signal=KILL", slow] in machine


@pytest.mark.parametrize("busy", [0, 1, 3, 9])
def test_a_user_whose_cron_job_begins_in_the_last_moment(
    machine: Commands, monkeypatch: pytest.MonkeyPatch, busy: int
) -> None:
    run, killed = app_removal.run, []

    def running(argv: Sequence[str], **options: Any) -> str:
        if argv[0] == "userdel" and len(killed) < busy:
            raise CommandFailed(options["what"], "userdel", "exit status 8", "used by process 7")
        return run(argv, **options)

    commands_by(running, monkeypatch)
    real = app_ending.kill
    ended = [0]

    def kill(uid: int) -> None:
        # Once in the order of a removal; each further time for userdel.
        ended[0] += 1
        if ended[0] > 1:
            killed.append(uid)
        real(uid)

    monkeypatch.setattr(app_ending, "kill", kill)
    if busy > app_removal.USERDEL_TRIES:
        with pytest.raises(CommandFailed, match="used by process 7"):
            app_removal.remove("app")
    else:
        assert app_removal.remove("app")["user"] == "app"
    assert len(killed) == min(busy, app_removal.USERDEL_TRIES)


RUNNER = "import os, time\nwhile True:\n    os.fork() and os._exit(0)\n    time.sleep(0.0005)"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start processes of other users")
def test_what_forks_faster_than_it_is_listed() -> None:
    """No process of it lives as long as a look at all of them takes."""
    uid = 61238
    command = ["setpriv", f"--reuid={uid}", "--clear-groups", sys.executable, "-c", RUNNER]
    reading, writing = os.pipe()
    # A group of its own, for the end of a test that fails.
    process = subprocess.Popen(command, start_new_session=True, pass_fds=[writing])
    os.close(writing)
    try:
        process.wait(30)
        assert select.select([reading], [], [], 0.2)[0] == []
        app_ending.kill(uid)
        # The end of the pipe: nobody has it open any more.
        assert select.select([reading], [], [], 10)[0] == [reading]
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


# refusing


def refused(reason: str, tmp_path: Path, machine: Commands, **options: Any) -> None:
    before = files(tmp_path)
    with pytest.raises(RemovalRefused, match=reason):
        app_removal.remove("app", **options)
    assert files(tmp_path) == before
    assert [command for command in machine if command[:2] != ["systemctl", "show"]] == []


def test_a_user_that_is_not_an_apps(machine: Commands, tmp_path: Path, accounts: dict[str, Any]) -> None:
    accounts["app"].pw_gecos = "Anna Pperson,,,"
    refused(r"user app \(uid 60000, Anna Pperson,,,\) was not created for an app", tmp_path, machine)


def test_a_deploy_that_is_under_way(machine: Commands, tmp_path: Path) -> None:
    lock = {"who": "anna", "controller": "desk", "expires_at": time.time() + 60}
    write(f"{layout.state('app')}/lock.json", json.dumps(lock))
    before = files(tmp_path)
    for dead in ((), ["of another run"]):
        with pytest.raises(Locked, match="held by anna on desk"):
            app_removal.remove("app", dead=dead)
    assert files(tmp_path) == before
    app_removal.remove("app", break_lock=True)


def test_a_deploy_whose_run_is_dead(machine: Commands) -> None:
    lock = {"token": "boot/ns/3/4", "who": "anna", "controller": "desk", "expires_at": time.time() + 60}
    write(f"{layout.state('app')}/lock.json", json.dumps(lock))
    assert app_removal.remove("app", dead=["boot/ns/3/4"])["user"] == "app"


@pytest.mark.parametrize(
    "lock", [None, {"token": "t", "who": "anna", "expires_at": 0.0}], ids=["free", "over"]
)
@pytest.mark.parametrize("fails_at", ["systemctl", "tar", "rm", "userdel"])
def test_a_removal_that_fails_leaves_no_lock(
    machine: Commands, monkeypatch: pytest.MonkeyPatch, fails_at: str, lock: dict[str, Any] | None
) -> None:
    if lock:
        write(f"{layout.state('app')}/lock.json", json.dumps(lock))
    run = app_removal.run

    def failing(argv: Sequence[str], **options: Any) -> str:
        if argv[0] == fails_at and "show" not in argv:
            raise CommandFailed(options["what"], argv[0], "exit status 2", "no")
        return run(argv, **options)

    commands_by(failing, monkeypatch)
    with pytest.raises(CommandFailed):
        app_removal.remove("app")
    state = AppState("app")
    if os.path.isdir(layout.state("app")):
        # Neither held by anybody who is alive, nor by the kernel for a process.
        assert state.free_lock([], False) == (Lock.of(lock) if lock else None)
        with state.working(0):
            pass
    commands_by(run, monkeypatch)
    assert app_removal.remove("app")


def test_a_lock_that_is_over(machine: Commands) -> None:
    write(f"{layout.state('app')}/lock.json", json.dumps({"who": "anna", "expires_at": time.time() - 1}))
    assert app_removal.remove("app")["user"] == "app"


def test_a_site_that_the_web_server_still_has(machine: Commands, tmp_path: Path) -> None:
    write(layout.front_sites("app")["nginx.service"])
    refused("the web server still has its site", tmp_path, machine)


def test_a_site_of_another_that_still_leads_to_it(machine: Commands, tmp_path: Path) -> None:
    nginx, apache = (layout.front_sites("blog")[unit] for unit in layout.FRONT_UNITS)
    below = f"uwsgi_pass unix:{layout.active_socket('app')};\n"
    write(nginx, f"uwsgi_pass unix:{layout.active_socket('blog')};\n{below}")
    refused(f"{re.escape(nginx)} still leads visitors to it", tmp_path, machine)
    # Those of apps of near names do not, nor does a file that nginx never loads, nor a server that does not run.
    write(nginx, "".join(f"uwsgi_pass unix:{layout.active_socket(name)};\n" for name in NEAR))
    write(f"{nginx}.kept", below)
    write(apache, below)
    assert app_removal.remove("app")["user"] == "app"


def test_a_site_of_a_web_server_that_was_given_up(machine: Commands) -> None:
    stale = layout.front_sites("app")["apache2.service"]
    write(stale)
    assert stale in app_removal.remove("app")["paths"]
    assert not os.path.exists(stale)


def test_the_timer_asks_for_no_certificate_of_it_any_more(
    machine: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[str] = []
    monkeypatch.setattr(certificate_store, "forget", forgotten.append)
    app_removal.remove("app")
    assert forgotten == ["app"]


def test_a_filesystem_that_is_mounted_inside(
    machine: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "36 35 98:0 / {} rw - ext4 /dev/sdb rw\n"
    table = tmp_path / "mountinfo"
    table.write_text(
        line.format(f"{layout.app_root('app2')}/shared") + line.format(f"{layout.app_root('app')}/shared")
    )
    monkeypatch.setattr(app_removal, "MOUNTS", str(table))
    refused("something is mounted at [^,]*/app/shared. Unmount it first", tmp_path, machine)


def test_too_little_room_for_the_archive(
    machine: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_removal, "SPARE_BYTES", 2**70)
    refused(
        "MiB free for the archive. Free some space, or remove it without an archive: -e archive=false",
        tmp_path,
        machine,
    )
    app_removal.remove("app", archive=False)


def test_a_successor_that_is_not_live(machine: Commands, tmp_path: Path, accounts: dict[str, Any]) -> None:
    refused("journal, its new name, is not live yet", tmp_path, machine, successor="journal")
    os.makedirs(f"{layout.activations('journal')}/journal@3")
    link_atomically("activations/journal@3", layout.active("journal"))
    write(f"{layout.vassals('a')}/journal@3.ini")
    led_here = f"{layout.activations('journal')}/app"
    os.symlink(layout.active("app"), led_here)
    accounts["journal"] = SimpleNamespace(pw_name="journal", pw_uid=60000, pw_gecos=renaming.MARK)
    done = app_removal.remove("app", successor="journal")
    listed = ["tar", "-tzf", str(done["archive"])]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
    assert names and all(".log" in name for name in names), "the data is the successor's"
    assert done["data_archived"] is False
    assert not os.path.lexists(led_here)
    # Its processes have the uid too: they live on, and userdel must not mind them.
    assert ["userdel", "--force", "app"] in machine


def test_nothing_there(machine: Commands) -> None:
    app_removal.remove("app")
    machine.clear()
    done = app_removal.remove("app")
    assert not (done["user"] or done["units"] or done["paths"])
    assert machine == []


# another name


def test_a_new_name_takes_over_the_data(machine: Commands) -> None:
    for make in (layout.releases, layout.activations, layout.state):
        os.makedirs(make("journal"))
    os.makedirs(f"{layout.activations('app')}/app@7")
    link_atomically("activations/app@7", layout.active("app"))
    inode = os.stat(f"{layout.shared('app')}/data/kept").st_ino
    assert len(renaming.move_data("app", "journal", check_mode=True)) == 3
    assert not os.path.lexists(layout.shared("journal"))
    assert len(renaming.move_data("app", "journal")) == 3
    assert os.stat(f"{layout.shared('journal')}/data/kept").st_ino == inode
    assert os.readlink(layout.shared("app")) == layout.shared("journal")
    assert not os.path.islink(layout.shared("journal"))
    # Visitors of the new name reach the old one, also when that changes its activation.
    assert os.path.realpath(layout.active("journal")) == os.path.realpath(layout.active("app"))
    assert AppState("journal").history()[-1]["kind"] == "rename"
    assert AppState("journal").live_release() is None
    assert AppState("journal").next_activation() == "journal@1"
    assert renaming.move_data("app", "journal") == []


def test_a_new_name_is_in_maintenance_as_the_old_one_was(
    machine: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(layout, "MAINTENANCE", str(tmp_path / "maintenance"))
    for make in (layout.releases, layout.activations, layout.state):
        os.makedirs(make("journal"))
    os.makedirs(f"{layout.activations('app')}/app@7")
    link_atomically("activations/app@7", layout.active("app"))
    write(layout.maintenance("app"), "why")
    os.utime(layout.maintenance("app"), (1, 1))
    said = f"{layout.maintenance('journal')}: taken over from app"
    assert said in renaming.move_data("app", "journal", check_mode=True)
    assert not os.path.exists(layout.maintenance("journal"))
    assert said in renaming.move_data("app", "journal")
    assert Path(layout.maintenance("journal")).read_text() == "why"
    # Since when.
    assert os.stat(layout.maintenance("journal")).st_mtime == 1
    # The site of the old name may serve on for a while.
    assert os.path.exists(layout.maintenance("app"))
    os.unlink(layout.maintenance("journal"))
    assert renaming.move_data("app", "journal") == []


def test_a_move_that_died_before_the_exchange(machine: Commands) -> None:
    for make in (layout.releases, layout.activations, layout.state):
        os.makedirs(make("journal"))
    os.symlink(layout.shared("journal"), layout.shared("journal"))
    renaming.move_data("app", "journal")
    assert os.path.isfile(f"{layout.shared('journal')}/data/kept")
    assert os.path.isfile(f"{layout.shared('app')}/data/kept")


def test_two_apps_with_data_are_not_mixed(
    machine: Commands, accounts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def getpwnam(name: str) -> Any:
        return accounts[name]

    monkeypatch.setattr(pwd, "getpwnam", getpwnam)
    assert "app2 and app both exist" in str(renaming.refusal("app", "app2"))
    assert renaming.refusal("app", "journal") is None
    assert renaming.refusal(None, "app2") is None
    accounts["app2"].pw_uid = accounts["app"].pw_uid
    assert renaming.refusal("app", "app2") is None


def test_the_room_of_a_hole(machine: Commands) -> None:
    """What is counted is disk space, so that a sparse file makes no removal impossible."""
    with open(f"{layout.shared('app')}/data/hole", "wb") as file:
        file.truncate(2**40)
    found = traces.listing("app")
    assert found.data < 2**30
    assert isinstance(app_removal.remove("app")["archive"], str)


def test_the_emperors_temporary_files_of_a_user_go_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """They live as long as the emperor does, and the next user may get the number."""
    ran: list[list[str]] = []
    monkeypatch.setattr(app_ending, "unit_property", lambda emperor, name: {"a": "77", "b": "0"}[emperor])
    monkeypatch.setattr(app_ending, "run", lambda argv, **_: ran.append(list(argv)) or "")
    app_ending.clear_temporary(4001)
    assert ran == [
        ["nsenter", "--target=77", "--mount", "--", "find", "/tmp", "/var/tmp", "/dev/shm"]
        + ["-xdev", "-uid", "4001", "-delete"]
    ]


def test_nobody_logs_in_for_it_while_it_is_removed(
    machine: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    end = app_ending.end
    monkeypatch.setattr(app_removal.logins, "forget", lambda app: done.append(f"login {app}"))
    monkeypatch.setattr(app_ending, "end", lambda *words: (done.append("end"), end(*words)))
    app_removal.remove("app")
    assert done == ["login app", "end"]
