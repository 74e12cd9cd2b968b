"""Test hosts for measurements: containers that are reached by SSH, as real hosts are, and the playbooks that run on them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools import container
from tools.console import Stop, command, last_lines, run
from tools.project import ROOT

LABEL = "emperor-stack.bench=1"
CERTIFICATES = Path("/usr/local/share/ca-certificates")

#: What makes a container one that Ansible reaches by SSH. Nothing of it is counted.
SSHD = """set -e
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends openssh-server openssh-sftp-server
install -d -m 0700 /root/.ssh
cat >/root/.ssh/authorized_keys
systemctl start ssh.service
"""

RECAP = re.compile(r"^(\S+)\s*: ok=(\d+)\s+changed=(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Played:
    """A playbook's run: its seconds as somebody who waits for it counts them, and what it said of each host."""

    seconds: float
    ok: dict[str, int]
    changed: dict[str, int]
    output: str


def recap(output: str) -> tuple[dict[str, int], dict[str, int]]:
    """Tasks per host that were done, and that changed something."""
    found = RECAP.findall(output)
    return {name: int(ok) for name, ok, _ in found}, {name: int(changed) for name, _, changed in found}


def inside(name: str, script: str, *, input: str | None = None, env: dict[str, str] | None = None) -> str:
    """Run a shell script as root in host *name*; its output."""
    words = [word for key, value in (env or {}).items() for word in ("-e", f"{key}={value}")]
    interactive = ["-i"] if input is not None else []
    return run(["docker", "exec", *interactive, *words, name, "sh", "-c", script], input=input).stdout


def send(name: str, source: Path, target: str) -> None:
    run(["docker", "cp", "--quiet", str(source), f"{name}:{target}"])


def write(name: str, path: str, text: str) -> None:
    """Write a file on host *name*, and the directories above."""
    inside(name, f"mkdir -p {Path(path).parent} && cat >{path}", input=text)


def trust(name: str) -> None:
    """Let host *name* reach package archives through this machine's network, as site.yml does."""
    for path in CERTIFICATES.glob("*.crt"):
        send(name, path, f"{CERTIFICATES}/{path.name}")
    inside(name, "update-ca-certificates >/dev/null 2>&1")


@dataclass
class Fleet:
    """A controller's view of some hosts: an inventory, a key, known hosts."""

    directory: Path
    names: list[str] = field(default_factory=list)

    @property
    def key(self) -> Path:
        path = self.directory / "key"
        if not path.exists():
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)])
        return path

    def add(self, name: str, debian: int, memory: str | None = None) -> str:
        """A fresh host with sshd."""
        container.remove(name)
        container.start(
            container.Host(name, f"emperor-stack-host:debian{debian}", memory=memory, labels=(LABEL,))
        )
        self.names.append(name)
        inside(name, SSHD, input=self.key.with_suffix(".pub").read_text())
        public = inside(name, "cat /etc/ssh/ssh_host_ed25519_key.pub")
        with (self.directory / "known_hosts").open("a") as file:
            file.write(f"{self.address(name)} {' '.join(public.split()[:2])}\n")
        return name

    def address(self, name: str) -> str:
        found = container.inspect(name)
        if not found:
            raise Stop(f"{name} is gone", "Something else removed it. Run the measurement again.")
        return str(found["NetworkSettings"]["Networks"]["bridge"]["IPAddress"])

    def remove(self, name: str) -> None:
        container.remove(name)
        self.names.remove(name)

    def inventory(self, names: Sequence[str]) -> Path:
        """An inventory of these hosts, with this machine's certificates and no apps."""
        place = self.directory / f"inventory-{'-'.join(names)}"
        (place / "group_vars").mkdir(parents=True, exist_ok=True)
        link = place / "group_vars" / "all"
        if not link.exists():
            link.symlink_to(ROOT / "inventories/local/group_vars/all")
        known = f"-o UserKnownHostsFile={self.directory}/known_hosts"
        hosts = {
            name: {
                "ansible_host": self.address(name),
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(self.key),
                "ansible_ssh_common_args": known,
            }
            for name in names
        }
        (place / "hosts.json").write_text(json.dumps({"app_hosts": {"hosts": hosts}}))
        return place

    def command(
        self, playbook: str, names: Sequence[str], variables: dict[str, Any]
    ) -> tuple[list[str], dict[str, str]]:
        """The words that run a playbook on these hosts over SSH, and their environment."""
        path = self.directory / f"variables-{'-'.join(names)}.json"
        path.write_text(json.dumps(variables))
        program = Path(sys.executable).with_name("ansible-playbook")
        words = [str(program), "-i", str(self.inventory(names)), playbook, "-e", f"@{path}"]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        return words, environment | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}

    def play(
        self, playbook: str, names: Sequence[str], variables: dict[str, Any], *, cwd: Path = ROOT
    ) -> Played:
        """Run a playbook on these hosts over SSH. A failure ends the measurement."""
        words, environment = self.command(playbook, names, variables)
        began = time.monotonic()
        done = subprocess.run(
            words, cwd=cwd, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )  # fmt: skip
        seconds = time.monotonic() - began
        if done.returncode:
            raise Stop(
                f"{playbook} failed: {last_lines(done.stdout + done.stderr, 12)}",
                "The measurement means nothing without it.",
            )
        return Played(seconds, *recap(done.stdout), done.stdout)


@contextlib.contextmanager
def fleet() -> Iterator[Fleet]:
    """Hosts that are removed at the end, however it comes."""
    # A short path: SSH's control sockets and their names must stay below 108 bytes.
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        hosts = Fleet(Path(directory))
        try:
            yield hosts
        finally:
            for name in list(hosts.names):
                hosts.remove(name)


def main(arguments: Sequence[str]) -> int:
    """`python -m bench.hosts DIRECTORY NAME…`: hosts that stay, with their inventory, to try things by hand."""
    place, *names = arguments
    Path(place).mkdir(parents=True, exist_ok=True)
    hosts = Fleet(Path(place).resolve())
    for name in names:
        hosts.add(name, 13)
    print(hosts.inventory(names))
    return 0


if __name__ == "__main__":
    if not shutil.which("ssh"):
        sys.exit("ssh is not installed")
    command(main)
