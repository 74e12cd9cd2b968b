"""Deploys, rollbacks and load against a test host, as a team at its controller would do them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from testinfra.host import Host

from tools import playbook_server

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def figure(name: str, value: object) -> None:
    """Print a measured value in the form that `make figures` collects."""
    print(f"\nfigure: {name} = {value}")


@dataclass
class Outcome:
    code: int
    output: str
    seconds: float
    began: float


class Repository:
    """A git repository on the test host, written from the controller: a directory of ours plus changes per version."""

    def __init__(self, host: Host, name: str, source: Path, directory: Path) -> None:
        self.host, self.name = host, name
        self.work = directory / name
        tracked = subprocess.run(
            ["git", "ls-files", "-z", "."], cwd=source, capture_output=True, text=True, check=True
        ).stdout
        for path in filter(None, tracked.split("\0")):
            target = self.work / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / path, target)
        self._git("init", "--quiet", "--initial-branch=main")

    @property
    def url(self) -> str:
        return f"file:///srv/git/{self.name}.git"

    def _git(self, *arguments: str) -> None:
        identity = ["-c", "user.name=Tests", "-c", "user.email=tests@example.com"]
        subprocess.run(["git", *identity, *arguments], cwd=self.work, check=True, capture_output=True)

    def version(self, name: str, changes: Mapping[str, str | None] | None = None) -> str:
        """Commit *changes* (path → content; None deletes) to what is there, and tag that."""
        for path, content in {"version.txt": f"{name}\n", **(changes or {})}.items():
            if content is None:
                (self.work / path).unlink()
            else:
                (self.work / path).parent.mkdir(parents=True, exist_ok=True)
                (self.work / path).write_text(content)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", name)
        self._git("tag", name)
        return name

    def back_to(self, version: str) -> None:
        """Let the next version start from *version* again."""
        self._git("reset", "--quiet", "--hard", version)

    def push(self) -> None:
        """Bring everything to the test host."""
        container = self.host.backend.host
        self.host.check_output("rm -rf /srv/git/%s.git && mkdir -p /srv/git", self.name)
        subprocess.run(
            ["docker", "cp", "--quiet", f"{self.work}/.git", f"{container}:/srv/git/{self.name}.git"],
            check=True,
            capture_output=True,
        )


def alone(host: Host, directory: Path) -> Path:
    """The scenario's inventory, copied into *directory*, as if *host* were its only one.

    Another host of the scenario has the same apps, and knows nothing of this one: it is no second host of them.
    """
    whole = Path(os.environ["MOLECULE_INVENTORY_FILE"])
    place = directory / f"only-{host.backend.host}"
    shutil.copytree(whole.parent, place, symlinks=True)
    inventory = place / whole.name
    groups = yaml.safe_load(inventory.read_text())
    for group in groups.values():
        hosts = group.get("hosts", {})
        group["hosts"] = {name: hosts[name] for name in hosts if name == host.backend.host}
    inventory.write_text(yaml.safe_dump(groups))
    return inventory


def on_host(host: Host, imports: str, expression: str) -> Any:
    """The value of *expression* on the test host, by the code of the bundle that modules take there."""
    container = host.backend.host
    if (container, ROOT) not in _brought:
        host.check_output("rm -rf /root/product && mkdir /root/product")
        code = ROOT / "plugins" / "module_utils"
        subprocess.run(
            ["docker", "cp", "--quiet", str(code), f"{container}:/root/product/emperor_product"],
            check=True,
            capture_output=True,
        )
        _brought.add((container, ROOT))
    program = (
        f"import json, sys\nsys.path.insert(0, '/root/product')\n{imports}\nprint(json.dumps({expression}))"
    )
    return json.loads(host.check_output("python3 -B -c %s", program))


#: Hosts that have the code already.
_brought: set[tuple[str, Path]] = set()

#: Playbooks that tests of this process have started.
started: list[str] = []

_servers = playbook_server.Servers()


@dataclass
class Stack:
    """The controller of one test host."""

    host: Host
    inventory: Path
    directory: Path
    apps: list[dict[str, Any]] = field(default_factory=list)
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    #: Of ansible-playbook, beside the bundle's ansible.cfg.
    environment: dict[str, str] = field(default_factory=dict)
    #: The bundle that it has: this one, or a copy of another version.
    checkout: Path = ROOT

    def command(self, playbook: str, *words: str, **extra: object) -> list[str]:
        """The ansible-playbook command with this stack's apps, and *extra* as variables."""
        variables = {"python_apps": self.apps, "vault_python_apps_secrets": self.secrets}
        variables |= {**self.variables, **extra}
        path = self.directory / f"vars-{time.monotonic_ns()}.json"
        path.write_text(json.dumps(variables))
        program = playbook_server.PROGRAM
        limit = self.host.backend.host
        return [str(program), "-i", str(self.inventory), "--limit", limit, playbook, "-e", f"@{path}", *words]

    def start(self, playbook: str, *words: str, **extra: object) -> subprocess.Popen[str]:
        started.append(playbook)
        return subprocess.Popen(
            self.command(playbook, *words, **extra),
            cwd=self.checkout,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _environment(self) -> dict[str, str]:
        # What pytest says of the current test is no affair of Ansible's, and each run would have another environment.
        left_out = ("ANSIBLE_", "MOLECULE_", "PYTEST_CURRENT_TEST")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        own = {"ANSIBLE_CONFIG": str(self.checkout / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        return {**environment, **own, **self.environment}

    def play(
        self, playbook: str, *words: str, patience: float = 600, measured: bool = False, **extra: object
    ) -> Outcome:
        """Run it to its end. *measured*: as an ordinary process, as its time is to be a user's."""
        began = time.time()
        if not measured and (server := _servers.server(self._environment(), self.checkout)):
            started.append(playbook)
            arguments = self.command(playbook, *words, **extra)[1:]
            done = server.run(arguments, patience, merged=True)
            return Outcome(done.returncode, done.stdout, time.time() - began, began)
        process = self.start(playbook, *words, **extra)
        output, _ = process.communicate(timeout=patience)
        return Outcome(process.returncode, output, time.time() - began, began)

    def good(
        self, playbook: str, *words: str, patience: float = 600, measured: bool = False, **extra: object
    ) -> Outcome:
        """Play it; it must succeed."""
        outcome = self.play(playbook, *words, patience=patience, measured=measured, **extra)
        assert outcome.code == 0, outcome.output[-6000:]
        return outcome

    def deploy(self, app: str, version: str) -> Outcome:
        return self.play("playbooks/deploy.yml", app=app, version=version)

    def rollback(self, app: str, measured: bool = False, **extra: object) -> Outcome:
        return self.play("playbooks/rollback.yml", app=app, measured=measured, **extra)

    def status(self, app: str) -> dict[str, Any]:
        """What playbooks/status.yml would say of *app*, asked of the host without a playbook: most tests ask for it."""
        port = int(self.variables.get("nginx_http_port", 80))
        options = f"Options(http_port={port})"
        return dict(
            on_host(
                self.host,
                "from emperor_product.release.options import Options\n"
                "from emperor_product.release.phases import run_phase",
                f"run_phase('status', [{{'name': {app!r}}}], {options})[{app!r}]",
            )
        )

    def told_status(self, app: str) -> dict[str, Any]:
        """The same by playbooks/status.yml."""
        path = self.directory / "status.json"
        told = ending(self.good("playbooks/status.yml", app=app, json=str(path)).output)
        assert re.search(rf"^{app} +\d{{8}}T\S+ +@\d+ ", told, re.MULTILINE), told
        return dict(json.loads(path.read_text())[self.host.backend.host][app])

    def ask(self, domain: str, path: str) -> str:
        return self.host.check_output("curl -sS -H %s http://127.0.0.1%s", f"Host: {domain}", path)


@dataclass
class Profile:
    """What the callback `profile` says of a run."""

    seconds: float
    tasks: int
    skipped: int
    trips: int

    @classmethod
    def of(cls, output: str) -> Profile:
        found = re.search(
            r"^profile: ([\d.]+) seconds, (\d+) tasks, (\d+) skipped, (\d+) round trips$",
            output,
            re.MULTILINE,
        )
        assert found, output[-3000:]
        return cls(float(found[1]), *map(int, found.groups()[1:]))


@dataclass
class Load:
    """What the load client wrote down, once it ended."""

    answers: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return int(self.summary["total"])

    @property
    def failed(self) -> int:
        return int(self.summary["failed"])

    @property
    def per_second(self) -> float:
        return float(self.summary["total"]) / float(self.summary["seconds"])

    @property
    def releases(self) -> set[str]:
        return {answer["release"] for answer in self.answers if answer.get("release")}

    def failures(self) -> str:
        """The first failures, for an assertion's message."""
        bad = [answer for answer in self.answers if answer.get("failure")]
        return f"{len(bad)} failures: " + "\n".join(json.dumps(answer) for answer in bad[:10])


#: Seconds after which a load ends that nobody ended: well beyond what it accompanies on the slowest machine.
LONGEST_LOAD = 3600


@contextlib.contextmanager
def load(
    host: Host,
    domain: str,
    paths: list[str],
    *,
    slow: str = "",
    echo: str = "",
    rate: float = 230,
    tls: bool = False,
) -> Iterator[Load]:
    """Run the load client on the host during the block; its answers are there after it."""
    result = Load()
    container = host.backend.host
    directory = f"/root/load-{time.monotonic_ns()}"
    host.check_output("mkdir -p %s", directory)
    subprocess.run(
        ["docker", "cp", str(HERE / "load.py"), f"{container}:{directory}/load.py"],
        check=True,
        capture_output=True,
    )
    command = ["docker", "exec", container, "python3", f"{directory}/load.py", "--host", domain]
    command += ["--seconds", str(LONGEST_LOAD), "--rate", str(rate)]
    command += ["--stop", f"{directory}/stop", "--out", f"{directory}/answers.jsonl"]
    command += [word for path in paths for word in ("--path", path)]
    command += ["--tls", "--port", "443"] if tls else []
    command += (["--slow", slow] if slow else []) + (["--echo", echo] if echo else [])
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        time.sleep(2)
        yield result
        time.sleep(2)
    finally:
        host.run("touch %s/stop", directory)
        said, _ = process.communicate(timeout=90)
    ended = process.returncode
    assert ended == 0, f"the load client failed: {said}"
    lines = host.check_output("cat %s/answers.jsonl", directory).splitlines()
    entries = [json.loads(line) for line in lines]
    result.answers[:] = entries[:-1]
    result.summary.update(entries[-1]["summary"])
    assert time.time() - result.answers[-1]["ended"] < 60, "the load ended before what it was to accompany"


def ending(output: str) -> str:
    """What a run said at its end: the table of apps, and their errors."""
    return output.rpartition("PLAY RECAP")[2]


def milliseconds_of_switch(output: str) -> list[float]:
    """What the switch phase said of its renames."""
    return [float(found) for found in re.findall(r"switched in ([\d.]+) ms", output)]
