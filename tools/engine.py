"""A Docker engine that answers: the one that is there, or Debian's, installed and started."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from . import system
from .console import Stop, command, last_lines, note, run, step, wait_for
from .project import state

PACKAGES = ["docker.io", "iptables"]  # docker.io only recommends iptables, and has no network without it


def answer(timeout: float = 20) -> subprocess.CompletedProcess[str]:
    return run(["docker", "info", "--format", "{{.ServerVersion}}"], check=False, timeout=timeout)


def answers() -> bool:
    done = answer()
    # The client exits 0 with an empty version when only the server is missing.
    return done.returncode == 0 and bool(done.stdout.strip())


def data_directory() -> str:
    done = run(["docker", "info", "--format", "{{.DockerRootDir}}"], check=False, timeout=20)
    return done.stdout.strip() or "/var/lib/docker"


def start_time(pid: int) -> str | None:
    """When process *pid* started, in clock ticks since boot: with the pid it names one process for good."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def record() -> Path:
    return state() / "dockerd.json"


def forget_dead_daemon() -> None:
    """A killed daemon leaves its pid file. With that pid reused, the next daemon would not start."""
    pid_file = Path("/var/run/docker.pid")
    try:
        name = Path(f"/proc/{int(pid_file.read_text())}/comm").read_text().strip()
    except (OSError, ValueError):
        return
    if name != "dockerd":
        pid_file.unlink()


def start_by_hand() -> None:
    """Start dockerd where no systemd could, and remember which process that is."""
    daemon = shutil.which("dockerd") or "/usr/sbin/dockerd"
    log = state() / "dockerd.log"
    forget_dead_daemon()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [daemon], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/"
        )
    record().write_text(json.dumps({"pid": process.pid, "start_time": start_time(process.pid)}))
    wait_for(lambda: answers() or process.poll() is not None, 60, 0.5)
    if not answers():
        stop()
        raise Stop(
            f"dockerd does not answer after its start: {last_lines(log.read_text(errors='replace'), 2)}",
            f"The whole log is in {log}.",
        )


def refusal(client: subprocess.CompletedProcess[str]) -> Stop | None:
    """Why an ordinary user gets no answer, as far as the client's words tell."""
    if system.is_root():
        return None
    if "permission denied" in client.stderr.lower():
        return Stop(
            "the Docker engine runs, but this user may not talk to it",
            "Run: sudo usermod -aG docker $USER, then log in again.",
        )
    return Stop(
        "no Docker engine answers, and only root may install and start one",
        "Run: sudo apt-get install docker.io && sudo usermod -aG docker $USER, then log in again.",
    )


def ensure() -> bool:
    """Make sure that an engine answers. True when it had to be started."""
    client = answer()
    if client.returncode == 0 and client.stdout.strip():
        return False
    if os.environ.get("DOCKER_HOST"):
        raise Stop(
            f"the Docker engine at DOCKER_HOST={os.environ['DOCKER_HOST']} does not answer",
            "Unset DOCKER_HOST to use an engine of this machine.",
        )
    stop_reason = refusal(client)
    if stop_reason:
        raise stop_reason
    if not (shutil.which("dockerd") or Path("/usr/sbin/dockerd").exists()):
        system.require_disk("/var/lib", 3000, "a Docker engine with a host image")
        system.apt_install(PACKAGES, "no Docker engine is installed")
    if not shutil.which("docker"):
        # Debian 13 has the client in a package of its own, which docker.io only recommends.
        system.apt_install(["docker-cli"], "the Docker engine is here, its client is not")
    if answers():  # the package starts it where systemd runs
        return True
    step("Starting the Docker engine")
    if system.systemd_is_running():
        run(["systemctl", "enable", "--now", "docker"])
        if not wait_for(answers, 60, 0.5):
            raise Stop("docker.service runs but does not answer", "See `journalctl -u docker`.")
    else:
        start_by_hand()
    return True


def stop() -> bool:
    """End the dockerd that `start_by_hand` started, and no other. True when there was one."""
    try:
        remembered = json.loads(record().read_text())
    except (OSError, ValueError):
        return False
    pid, since = int(remembered["pid"]), remembered["start_time"]
    record().unlink()
    if since is None or start_time(pid) != since:
        return False
    os.kill(pid, signal.SIGTERM)
    if not wait_for(lambda: start_time(pid) != since, 30):
        os.kill(pid, signal.SIGKILL)
    return True


def main(arguments: Sequence[str]) -> int:
    if list(arguments) == ["stop"]:
        note("stopped the engine that we started" if stop() else "no engine of ours runs")
    elif not ensure():
        note("a Docker engine answers")
    return 0


if __name__ == "__main__":
    command(main)
