from __future__ import annotations

import json
import os
import subprocess

import pytest

from tools import engine
from tools.console import Stop


@pytest.fixture(autouse=True)
def no_other_engine(monkeypatch):
    monkeypatch.delenv("DOCKER_HOST", raising=False)


def test_an_engine_that_answers_is_used_and_nothing_is_installed(fake, calls, state):
    fake("docker", "echo 28.0")
    fake("apt-get", "exit 0")
    assert engine.ensure() is False
    assert [call.split()[0] for call in calls()] == ["docker"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("permission denied while trying to connect", r"may not talk to it.*usermod -aG docker"),
        ("Cannot connect to the Docker daemon", r"only root may install.*sudo apt-get install docker\.io"),
    ],
)
def test_an_ordinary_user_gets_one_line_with_the_remedy(fake, state, monkeypatch, words, message):
    fake("docker", f"echo '{words}' >&2; exit 1")
    monkeypatch.setattr(engine.system, "is_root", lambda: False)
    with pytest.raises(Stop, match=message) as stop:
        engine.ensure()
    assert "\n" not in str(stop.value)


def test_a_remote_engine_that_is_silent_is_not_replaced_by_a_local_one(fake, calls, state, monkeypatch):
    fake("docker", "exit 1")
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    with pytest.raises(Stop, match=r"DOCKER_HOST=tcp://192\.0\.2\.1:2375 does not answer"):
        engine.ensure()
    assert all(call.startswith("docker info") for call in calls())


def test_an_engine_started_by_hand_is_remembered_and_ended_again(fake, state, monkeypatch, tmp_path):
    # The client answers only while the daemon lives.
    fake("docker", f'[ -e {tmp_path}/up ] && echo 28.0 && exit 0; echo "Cannot connect" >&2; exit 1')
    fake("dockerd", f"touch {tmp_path}/up; trap 'rm {tmp_path}/up; exit 0' TERM; while :; do sleep 0.1; done")
    monkeypatch.setattr(engine.system, "is_root", lambda: True)
    monkeypatch.setattr(engine.system, "systemd_is_running", lambda: False)
    monkeypatch.setattr(engine, "forget_dead_daemon", lambda: None)
    assert engine.ensure() is True
    pid = json.loads((state / "dockerd.json").read_text())["pid"]
    assert engine.start_time(pid)
    assert engine.stop() is True
    assert engine.start_time(pid) is None
    assert engine.stop() is False


def test_a_daemon_that_dies_at_once_is_reported_with_its_last_words(fake, state, monkeypatch):
    fake("docker", "exit 1")
    fake("dockerd", "echo 'failed to start daemon: no overlay' >&2; exit 1")
    monkeypatch.setattr(engine.system, "is_root", lambda: True)
    monkeypatch.setattr(engine.system, "systemd_is_running", lambda: False)
    monkeypatch.setattr(engine, "forget_dead_daemon", lambda: None)
    with pytest.raises(Stop, match=r"failed to start daemon: no overlay.*dockerd\.log"):
        engine.ensure()
    assert not (state / "dockerd.json").exists()


def test_another_process_that_got_the_pid_is_not_killed(state):
    other = subprocess.Popen(["sleep", "60"])
    try:
        state.mkdir()
        (state / "dockerd.json").write_text(json.dumps({"pid": other.pid, "start_time": "1"}))
        assert engine.stop() is False
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_start_time_names_this_process_and_no_ended_one():
    assert engine.start_time(os.getpid())
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert engine.start_time(ended.pid) is None
