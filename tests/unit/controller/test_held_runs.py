"""Runs in containers, as runs in other containers see them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible import constants
from ansible_collections.emperor.stack.plugins.plugin_utils.controller import held_runs
from ansible_collections.emperor.stack.plugins.plugin_utils.controller import lock_holders as locks

from tools.project import ROOT

BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(
        constants.config, "get_config_value", lambda name: {"ANSIBLE_HOME": str(tmp_path)}[name]
    )
    return tmp_path / "emperor-stack/runs"


@pytest.fixture
def playbook() -> Iterator[subprocess.Popen[bytes]]:
    """What stands for ansible-playbook."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def token_in_a_container(process: int) -> str:
    return f"{BOOT}/pid:[7]/{process}/5"


def until_ended(token: str) -> bool:
    end = time.monotonic() + 5
    while not held_runs.has_ended(token) and time.monotonic() < end:
        time.sleep(0.02)
    return held_runs.has_ended(token)


def test_a_run_in_a_container_has_not_ended_until_its_playbook_has(playbook: subprocess.Popen[bytes]) -> None:
    token = token_in_a_container(playbook.pid)
    held_runs.hold(token, playbook.pid)
    held_runs.hold(token, playbook.pid)
    assert not held_runs.has_ended(token)
    playbook.kill()
    assert until_ended(token)
    result = {
        "apps": {"blog": {"error": "x", "locked": {"token": token}}, "shop": {"locked": {"token": "y"}}}
    }
    assert locks.dead_holders(result) == {"blog": token}


def test_of_a_run_that_was_never_held_nothing_is_known(playbook: subprocess.Popen[bytes]) -> None:
    assert not held_runs.has_ended(token_in_a_container(playbook.pid))
    assert not held_runs.has_ended("")
    assert not held_runs.has_ended("garbage")


def test_a_run_of_another_machine_is_not_known_although_its_file_is_here(home: Path) -> None:
    token = "another-boot/pid:[7]/4/5"
    home.mkdir(parents=True)
    Path(held_runs._path(token)).touch()
    assert not held_runs.has_ended(token)


@pytest.mark.parametrize("namespace", ["", held_runs.FIRST_NAMESPACE])
def test_outside_of_containers_nothing_is_held(namespace: str, home: Path) -> None:
    held_runs.hold(f"{BOOT}/{namespace}/{os.getpid()}/5", os.getpid())
    assert not home.exists()


def test_a_home_that_cannot_be_written_stops_nothing(
    tmp_path: Path, playbook: subprocess.Popen[bytes]
) -> None:
    (tmp_path / "emperor-stack").write_text("a file, and no directory")
    held_runs.hold(token_in_a_container(playbook.pid), playbook.pid)
    assert not held_runs.has_ended(token_in_a_container(playbook.pid))


def test_files_of_old_runs_are_deleted_and_those_of_running_ones_stay(
    home: Path, playbook: subprocess.Popen[bytes]
) -> None:
    running = token_in_a_container(playbook.pid)
    held_runs.hold(running, playbook.pid)
    (home / "ended").touch()
    for path in home.iterdir():
        os.utime(path, (1, 1))
    held_runs.hold(f"{running}1", playbook.pid)
    assert {path.name for path in home.iterdir()} == {
        Path(held_runs._path(token)).name for token in (running, f"{running}1")
    }
    assert not held_runs.has_ended(running)


#: In a namespace of processes of its own, as in a container: hold a run, say its token, and sleep in its playbook.
IN_A_CONTAINER = """
import multiprocessing, os, sys, time
sys.path[:0] = [{root!r}, {collections!r}]
from ansible_collections.emperor.stack.plugins.action.release import this_run

def task(pipe):
    pipe.send(this_run()["token"])

if __name__ == "__main__":
    mine, its = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")
    worker = context.Process(target=task, args=(its,))
    worker.start()
    print(mine.recv(), flush=True)
    worker.join()
    time.sleep(60)
"""


def test_a_killed_container_is_seen_by_others(tmp_path: Path) -> None:
    program = tmp_path / "run.py"
    program.write_text(IN_A_CONTAINER.format(root=str(ROOT), collections=str(ROOT / "collections")))
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no namespaces of processes")
    environment = {**os.environ, "ANSIBLE_HOME": str(tmp_path)}
    with subprocess.Popen(
        [*unshare, sys.executable, str(program)], env=environment, stdout=subprocess.PIPE, text=True
    ) as container:
        assert container.stdout
        token = container.stdout.readline().strip()
        try:
            assert token.split("/")[0] == BOOT and token.split("/")[1] != held_runs.FIRST_NAMESPACE
            assert not locks.is_dead(token) and not held_runs.has_ended(token)
        finally:
            container.kill()
    assert until_ended(token) and not locks.is_dead(token)
