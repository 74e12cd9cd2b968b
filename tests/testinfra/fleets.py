"""Several hosts behind balancers, all reached by SSH, and visitors who come to the balancers' address.

For all tests of scenario `fleet`: `Fleet` is the controller, `visitors` is the load, from this machine.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploying import HERE, ROOT, Load, Stack
from testinfra.host import Host

from tools import playbook_server

#: Where visitors come: the address that keepalived moves.
ADDRESS = "10.213.0.100"
DOMAIN = "blog.example.com"
#: Of user ops, for the balancers' status page.
STATUS_PASSWORD = "only for tests"
PATHS = ["/", "/healthz", "/version"]

#: At least a hundred a second, a tenth of them POSTs.
RATE = 110


def app(name: str, **settings: Any) -> dict[str, Any]:
    """The bare app, which says its version and counts what is posted to it."""
    return {
        "name": name,
        "domains": [f"{name}.example.com"],
        "source": {"path": str(HERE / "apps" / "bare")},
        "wsgi": "app:application",
        "health": {"path": "/healthz", "timeout": 30},
        "web": {"processes": 2, "threads": 2},
        **settings,
    }


def hash_of(password: str) -> str:
    """As an operator makes it."""
    said = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=password, check=True, capture_output=True, text=True
    )
    return said.stdout.strip()


@dataclass
class Fleet(Stack):
    """The controller of all hosts of the scenario. `apps` are on every app host, and `own` on one of them."""

    hosts: dict[str, Host] = field(default_factory=dict)
    key: Path = Path()
    own: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    #: Variables of one host or balancer, over those of all.
    of_host: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Hosts that the inventory does not name for now.
    left_out: set[str] = field(default_factory=set)

    @property
    def app_hosts(self) -> list[str]:
        return [name for name in self.hosts if "-app" in name and name not in self.left_out]

    @property
    def balancers(self) -> list[str]:
        return [name for name in self.hosts if "-lb" in name and name not in self.left_out]

    def address(self, name: str) -> str:
        said = subprocess.run(
            [
                "docker",
                "inspect",
                "--format",
                "{{range .NetworkSettings.Networks}}{{.IPAMConfig.IPv4Address}}{{end}}",
                name,
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        return said.stdout.strip()

    def install(self) -> None:
        """An sshd and a key for root, on all hosts at the same time."""
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)],
            check=True,
            capture_output=True,
        )
        public = self.key.with_suffix(".pub").read_text().strip()

        def one(host: Host) -> None:
            host.check_output(
                "DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends openssh-server"
            )
            host.check_output("install -d -m 700 /root/.ssh && echo %s >/root/.ssh/authorized_keys", public)

        with ThreadPoolExecutor() as pool:
            list(pool.map(one, self.hosts.values()))

    def write_inventory(self) -> None:
        place = self.directory / "inventory"
        (place / "group_vars").mkdir(parents=True, exist_ok=True)
        everywhere = place / "group_vars" / "all"
        if not everywhere.is_symlink():
            everywhere.symlink_to(ROOT / "inventories" / "local" / "group_vars" / "all")
        groups: dict[str, Any] = {"app_hosts": {"hosts": {}}, "balancers": {"hosts": {}}}
        for name in [*self.app_hosts, *self.balancers]:
            variables = {
                "ansible_host": self.address(name),
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(self.key),
                "ansible_ssh_common_args": (
                    f"-o UserKnownHostsFile={self.directory}/known_hosts -o StrictHostKeyChecking=accept-new"
                ),
                "ansible_ssh_timeout": 5,
                "ansible_ssh_retries": 0,
            }
            if name in self.app_hosts:
                variables["python_apps"] = [*self.apps, *self.own.get(name, [])]
                variables["vault_python_apps_secrets"] = self.secrets
            group = "app_hosts" if name in self.app_hosts else "balancers"
            groups[group]["hosts"][name] = {**variables, **self.of_host.get(name, {})}
        (place / "hosts.json").write_text(json.dumps(groups))
        self.inventory = place

    def command(self, playbook: str, *words: str, **extra: object) -> list[str]:
        """The ansible-playbook command over all hosts, with *extra* as variables of the command line."""
        self.write_inventory()
        path = self.directory / f"vars-{time.monotonic_ns()}.json"
        path.write_text(json.dumps({**self.variables, **extra}))
        return [str(playbook_server.PROGRAM), "-i", str(self.inventory), playbook, "-e", f"@{path}", *words]

    def check(self, name: str, command: str, *words: str) -> str:
        """What *command* prints on a host or balancer, past SSH."""
        return str(self.hosts[name].check_output(command, *words))

    def kill(self, name: str) -> None:
        """As if the power failed."""
        subprocess.run(["docker", "kill", name], check=True, capture_output=True)

    def boot(self, name: str) -> None:
        """Start a host that was killed or cut off, and wait until it is up."""
        subprocess.run(["docker", "start", name], check=True, capture_output=True)
        self.until(
            lambda: (
                self.hosts[name].run("systemctl is-system-running").stdout.strip() in ("running", "degraded")
            )
        )

    def reboot(self, name: str) -> None:
        subprocess.run(["docker", "restart", "--time=20", name], check=True, capture_output=True)
        self.until(
            lambda: (
                self.hosts[name].run("systemctl is-system-running").stdout.strip() in ("running", "degraded")
            )
        )

    @contextlib.contextmanager
    def cut(self, name: str) -> Iterator[None]:
        """The host's link is down: nothing goes in or out, and nobody is told."""
        pid = subprocess.run(
            ["docker", "inspect", "--format", "{{.State.Pid}}", name],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        enter = ["nsenter", "--target", pid, "--net", "ip", "link", "set", "eth0"]
        subprocess.run([*enter, "down"], check=True, capture_output=True)
        try:
            yield
        finally:
            subprocess.run([*enter, "up"], check=True, capture_output=True)
            gateway = self.address(name).rpartition(".")[0] + ".1"
            subprocess.run(
                ["nsenter", "--target", pid, "--net", "ip", "route", "replace", "default", "via", gateway],
                check=True,
                capture_output=True,
            )

    def servers(self, balancer: str) -> dict[str, dict[str, str]]:
        """By app and host, what a balancer says of the host: UP, DOWN, NOLB (drained), MAINT."""
        said = self.check(
            balancer,
            "python3 -c %s",
            "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('/run/haproxy/emperor-stack.sock')\n"
            "s.sendall(b'show stat\\n')\nprint(s.makefile().read())",
        )
        rows = [line.split(",") for line in said.splitlines() if line.startswith("app_")]
        found: dict[str, dict[str, str]] = {}
        for row in rows:
            if row[1] not in ("BACKEND", "FRONTEND"):
                found.setdefault(row[0].removeprefix("app_"), {})[row[1]] = row[17]
        return found

    def until_servers(self, states: dict[str, str], app: str = "blog", patience: float = 40) -> None:
        """Wait until every balancer says of the named hosts what *states* has."""

        def right() -> bool:
            return all(
                self.servers(balancer)[app].get(name, "").startswith(state)
                for balancer in self.balancers
                for name, state in states.items()
            )

        self.until(right, patience)

    def until(self, right: Any, patience: float = 60) -> None:
        end = time.monotonic() + patience
        while not right():
            assert time.monotonic() < end, {name: self.servers(name) for name in self.balancers}
            # Each look is a Python on each balancer.
            time.sleep(0.8)

    def holder(self) -> str:
        """The balancer that has the address."""
        found = [
            name
            for name in self.balancers
            if f" {ADDRESS}/" in self.hosts[name].run("ip -4 -o address").stdout
        ]
        assert len(found) == 1, found
        return found[0]


def get(
    path: str = "/version", domain: str = DOMAIN, address: str = ADDRESS, *words: str
) -> subprocess.CompletedProcess[str]:
    """One request of a visitor; `stdout` is the body and, in a last line, the status."""
    command = [
        "curl",
        "-sS",
        "--max-time",
        "5",
        "--noproxy",
        "*",
        "-w",
        "\n%{http_code}",
        "-H",
        f"Host: {domain}",
        *words,
    ]
    return subprocess.run([*command, f"http://{address}{path}"], capture_output=True, text=True, check=False)


@contextlib.contextmanager
def visitors(
    directory: Path,
    *,
    domain: str = DOMAIN,
    paths: Iterable[str] = PATHS,
    echo: str = "/echo",
    slow: str = "",
    rate: float = RATE,
    address: str = ADDRESS,
) -> Iterator[Load]:
    """Run the load client here during the block; its answers are there after it. A failed request is never sent again,
    but a kept connection that was closed before the first byte of an answer is opened once more (`reopened`)."""
    result = Load()
    place = directory / f"load-{time.monotonic_ns()}"
    place.mkdir()
    command = [
        sys.executable,
        str(HERE / "load.py"),
        "--address",
        address,
        "--host",
        domain,
        "--seconds",
        "900",
    ]
    command += ["--rate", str(rate), "--stop", f"{place}/stop", "--out", f"{place}/answers.jsonl"]
    command += [word for path in paths for word in ("--path", path)]
    command += (["--slow", slow] if slow else []) + (["--echo", echo] if echo else [])
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        time.sleep(2)
        yield result
        time.sleep(2)
    finally:
        (place / "stop").touch()
        said, _ = process.communicate(timeout=90)
    assert process.returncode == 0, f"the load client failed: {said}"
    entries = [json.loads(line) for line in (place / "answers.jsonl").read_text().splitlines()]
    result.answers[:] = entries[:-1]
    result.summary.update(entries[-1]["summary"])


def failed_gets(load: Load, echo: str = "/echo") -> list[dict[str, Any]]:
    return [one for one in load.answers if one.get("failure") and one["path"] != echo]


def slowest(load: Load, echo: str = "/echo") -> float:
    """Seconds of the slowest answer to a GET."""
    return max(one["ended"] - one["began"] for one in load.answers if one["path"] != echo)


def shares(load: Load) -> str:
    """The failures of a load by what was asked and what came, for a figure's line."""
    found: dict[str, int] = {}
    for one in load.answers:
        if one.get("failure"):
            kind = "POST" if one["path"] == "/echo" else "GET"
            found[f"{kind} {one['failure']}"] = found.get(f"{kind} {one['failure']}", 0) + 1
    return ", ".join(f"{count} {what}" for what, count in sorted(found.items())) or "none"
