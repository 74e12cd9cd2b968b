"""A host as it is met from outside: by its ports, and by a real sshd."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploying import ROOT
from testinfra.host import Host

PROGRAM = "/usr/local/lib/emperor-stack/hardening/hardening"
SERVER = (
    "import http.server as h; h.ThreadingHTTPServer(('', {port}), h.SimpleHTTPRequestHandler).serve_forever()"
)


@dataclass
class Machine:
    """The host as the controller sees it: from outside, and by SSH."""

    host: Host
    directory: Path
    #: Of user ann, who may sudo.
    password: str = "only-for-this-test"
    #: What lynis said before anything was done.
    index: int = 0

    @property
    def name(self) -> str:
        return str(self.host.backend.host)

    @property
    def address(self) -> str:
        said = subprocess.run(
            ["docker", "inspect", "--format", "{{.NetworkSettings.IPAddress}}", self.name],
            check=True,
            capture_output=True,
            text=True,
        )
        return said.stdout.strip()

    @property
    def key(self) -> Path:
        return self.directory / "key"

    def ssh_options(self) -> str:
        return f"-o UserKnownHostsFile={self.directory}/known_hosts -o StrictHostKeyChecking=accept-new"

    def install(self) -> None:
        """sshd as Debian has it, a key for root, a password for ann."""
        self.host.check_output(
            "DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends openssh-server lynis"
        )
        self.host.check_output("useradd --create-home --shell /bin/bash ann")
        self.host.check_output("echo ann:%s | chpasswd", self.password)
        self.host.check_output("echo 'ann ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ann")
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)],
            check=True,
            capture_output=True,
        )
        public = self.key.with_suffix(".pub").read_text().strip()
        self.host.check_output("install -d -m 700 /root/.ssh && echo %s >/root/.ssh/authorized_keys", public)

    def write_inventory(self) -> Path:
        """Written anew after a reboot, which may change the address."""
        place = self.directory / "inventory"
        place.mkdir(exist_ok=True)
        if not (place / "group_vars").exists():
            (place / "group_vars").symlink_to(ROOT / "inventories" / "local" / "group_vars")
        variables = {
            "ansible_host": self.address,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": self.ssh_options(),
            "ansible_ssh_timeout": 5,
            "ansible_ssh_retries": 0,
        }
        hosts = {"app_hosts": {"hosts": {self.name: variables}}}
        (place / "hosts.json").write_text(json.dumps(hosts))
        return place

    def ssh(self, command: str, password: bool = False, user: str = "") -> subprocess.CompletedProcess[str]:
        """One connection of its own: as root by the key, or by a password as ann, or as *user*."""
        ask = self.directory / "ask"
        ask.write_text(f"#!/bin/sh\necho {self.password}\n")
        ask.chmod(0o700)
        how = ["-o", "PreferredAuthentications=password", "-o", "PubkeyAuthentication=no"]
        if not password:
            how = ["-i", str(self.key), "-o", "BatchMode=yes"]
        who = user or ("ann" if password else "root")
        command_line = [
            "ssh",
            *self.ssh_options().split(),
            "-o",
            "ConnectTimeout=3",
            "-o",
            "ControlPath=none",
        ]
        command_line += ["-o", "NumberOfPasswordPrompts=1", *how, f"{who}@{self.address}", command]
        try:
            return subprocess.run(
                command_line,
                env={**os.environ, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=40,
            )
        except subprocess.TimeoutExpired:
            # Shut out in the middle of it.
            return subprocess.CompletedProcess(command_line, 255, "", "timed out")

    def reaches(self, port: int, path: str = "/", domain: str = "one.example.com") -> bool:
        """Whether anything answers on *port*, seen from the controller."""
        done = subprocess.run(
            ["curl", "-sS", "-o", "/dev/null", "--max-time", "4", "--noproxy", "*"]
            + ["-H", f"Host: {domain}", f"http://{self.address}:{port}{path}"],
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    def listen(self, port: int) -> None:
        """Let some program listen on *port*, at all addresses."""
        self.host.check_output(
            "systemd-run --quiet --unit=listener-%s --working-directory=/run/lock python3 -c %s",
            str(port),
            SERVER.format(port=port),
        )
        self.until(lambda: f":{port} " in self.host.check_output("ss -Hltn"))

    def tables(self) -> list[str]:
        return self.host.check_output("nft list tables").splitlines()

    def parameter(self, name: str) -> str:
        return str(self.host.check_output("sysctl -n %s", name))

    @staticmethod
    def until(right: Callable[[], bool], patience: float = 60) -> None:
        end = time.monotonic() + patience
        while not right():
            assert time.monotonic() < end, "it did not come about"
            time.sleep(0.5)
