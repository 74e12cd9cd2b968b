"""What an attempt is, where it is made, and how what came of it is kept."""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ansible
from appsite import address
from deploying import HERE, ROOT, Outcome, Stack
from testinfra.host import Host

#: On a host: our modules as they are in the checkout, and what root runs there for the tests.
PRODUCT = "/root/walls"

WALLS = HERE / "walls"

#: What the neighbour answers to everybody, and the hostile app must not.
NEIGHBOUR = "neighbour"


@dataclass(frozen=True)
class Result:
    row: int
    name: str
    answered: str
    #: Why the wall did not hold, or nothing.
    problem: str


#: By host and attempt.
results: dict[tuple[str, str], Result] = {}


@dataclass
class Ground:
    """A host that has a hostile app under *server* and a neighbour."""

    stack: Stack
    server: str
    #: Rises with each run, so that the apps that take it get a new release in it.
    turn: int = 0
    runs: dict[str, Outcome] = field(default_factory=dict)

    @property
    def host(self) -> Host:
        return self.stack.host

    @property
    def name(self) -> str:
        return str(self.host.backend.host).removeprefix("walls-")

    def as_root(self, what: str, **facts: Any) -> Any:
        """Run a function of onhost.py on the host, as root."""
        done = self.host.run(f"{PRODUCT}/onhost.py %s %s", what, json.dumps(facts))
        assert done.rc == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    def as_hostile(self, what: str, patience: float = 60, **facts: Any) -> Any:
        """Run a function of inside.py in a process of the hostile app; whatever it raises comes back as `raised`."""
        request = {"source": (WALLS / "inside.py").read_text(), "call": what, "facts": facts}
        connection = http.client.HTTPConnection(address(self.host), 80, timeout=patience)
        try:
            connection.request("POST", "/run", json.dumps(request), {"Host": "hostile.localhost"})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        assert answer.status == 200, (answer.status, body[:500])
        return json.loads(body)

    def ask(self, domain: str, path: str = "/") -> tuple[int, bytes]:
        """What a visitor gets, from the network."""
        connection = http.client.HTTPConnection(address(self.host), 80, timeout=30)
        try:
            connection.request("GET", path, headers={"Host": f"{domain}.localhost"})
            answer = connection.getresponse()
            return answer.status, answer.read(4096)
        finally:
            connection.close()

    def bring_product(self) -> None:
        """Our modules and the tests' own programs, for `as_root`."""
        package = f"{PRODUCT}/ansible_collections/emperor/stack/plugins"
        self.host.check_output("rm -rf %s && mkdir -p %s", PRODUCT, package)
        shipped = Path(ansible.__file__).parent
        self.host.check_output("mkdir %s/ansible && touch %s/ansible/__init__.py", PRODUCT, PRODUCT)
        for source, target in (
            (ROOT / "plugins" / "module_utils", f"{package}/module_utils"),
            # What Ansible itself sends along with a module.
            *((shipped / name, f"{PRODUCT}/ansible/{name}") for name in ("release.py", "module_utils")),
            (WALLS / "onhost.py", f"{PRODUCT}/onhost.py"),
        ):
            copy(self.host, source, target)

    def app(self, name: str) -> dict[str, Any]:
        """The entry of app *name* in this ground's inventory."""
        return next(app for app in self.stack.apps if app["name"] == name)

    def renew(self, *names: str) -> None:
        """Let the next run make a new release of each of these apps."""
        self.turn += 1
        for name in names:
            self.app(name)["env"] = {"TURN": str(self.turn)}

    def note(self, row: int, name: str, answered: str, problem: str) -> None:
        """Keep what came of an attempt, and fail where the wall did not hold."""
        results[self.name, name] = Result(row, name, answered, problem)
        assert not problem, f"row {row}, {name} on {self.name}: {problem} ({answered})"


def copy(host: Host, source: Path, target: str) -> None:
    container = host.backend.host
    subprocess.run(["docker", "cp", "-q", str(source), f"{container}:{target}"], check=True)


def play(grounds: Sequence[Ground], playbook: str, *words: str, **extra: object) -> dict[str, Outcome]:
    """One run for each of *grounds*, side by side. Their outcomes by host, whether they succeeded or not."""
    outcomes: dict[str, Outcome] = {}

    def one(ground: Ground) -> None:
        outcomes[ground.name] = ground.stack.play(playbook, *words, **extra)

    threads = [threading.Thread(target=one, args=(ground,)) for ground in grounds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == len(grounds), "a run did not come to its end"
    return outcomes


def shown(value: object, length: int = 110) -> str:
    """*value* on one short line of plain characters."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    line = " ".join(text.encode("ascii", "backslashreplace").decode().split())
    return line if len(line) <= length else f"{line[:length]}…"


def first_line(outcome: Mapping[str, Any]) -> str:
    """What a run says of an app that failed."""
    return shown(str(outcome.get("reason") or "").partition("\n")[0])
