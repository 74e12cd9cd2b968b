"""Run broken inputs through the real playbook, and see each refused before the host is touched.

    tests/broken_inputs/run.py --inventory inventories/local --host local --container emperor-stack-local

Each case is a copy of the inventory in which the host has the broken python_apps, and a run of its own. It is refused when
ansible-playbook fails, names place, reason and fix, and shows no secret. With --container, the files of the host have to
be the same before and after all cases. Prints figures; exits 1 when a case was not refused or a file changed.

The first case of each kind (such as an app, further hosts, a secret) is run by an ordinary ansible-playbook, and measured.
The others are run in forks of a process that has imported Ansible, and by playbooks/deploy.yml, whose first play is that of
site.yml: without the roles it takes a third of the time. --ordinary does without these.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from tools.playbook_server import PROGRAM, Server  # noqa: E402  (where that lies is known only now)

#: Processor time of one refusal that is surely wrong. The clock is printed and not judged, as the machine may be busy.
MOST_CPU_SECONDS = 5.0

#: Seconds for one run.
PATIENCE = 120.0

#: Everything that the bundle writes to. Contents, owners, modes and times.
LISTING = r"""
for directory in /etc /srv /run/emperor-stack /var/lib/emperor-stack /usr/local; do
  test -e "$directory" || continue
  find "$directory" -xdev -printf '%p %y %m %U:%G %T@ %l\n'
  find "$directory" -xdev -type f -size -4M -exec sha256sum {} +
done | sort
"""


@dataclass(frozen=True)
class Case:
    name: str
    variables: dict[str, Any]
    expected: tuple[str, ...]
    hosts: dict[str, Any] = field(default_factory=dict)
    never: str = ""
    #: Which parts of an inventory are broken, and what the answer must not have.
    kind: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Outcome:
    case: Case
    seconds: float
    wrong: str


def load(path: Path) -> list[Case]:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    cases = [_case(document["good"], entry) for entry in document["cases"]]
    names = [case.name for case in cases]
    if len(set(names)) != len(names):
        raise SystemExit(f"{path}: two cases have the same name")
    return cases


def _case(good: dict[str, Any], entry: dict[str, Any]) -> Case:
    apps = entry.get(
        "apps", [_changed(good, change) for change in (entry.get("app", {}), *entry.get("more", ()))]
    )
    return Case(
        name=entry["name"],
        variables={entry.get("rename", "python_apps"): apps, **entry.get("vars", {})},
        expected=(entry["place"], entry["reason"], entry["fix"]),
        hosts=entry.get("hosts", {}),
        never=entry.get("never", ""),
        kind=frozenset(entry) - {"name", "place", "reason", "fix"},
    )


def _changed(good: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**good, **change}.items() if value is not None}


def write_inventory(source: Path, target: Path, host: str, group: str, case: Case) -> Path:
    """A copy of the inventory in which *host* has the variables of *case*, and none of its own apps."""
    # Links are followed: what is changed below is a copy, never a file that another inventory links to.
    shutil.copytree(source, target, ignore_dangling_symlinks=True)
    for file in (target / "group_vars", target / "host_vars"):
        _forget_apps(file)
    others = {
        name: {**variables, "ansible_host": f"{name}.invalid"} for name, variables in case.hosts.items()
    }
    added = {group: {"hosts": {host: case.variables, **others}}}
    (target / "zz_broken.yml").write_text(yaml.safe_dump(added, allow_unicode=True), encoding="utf-8")
    return target


def _forget_apps(directory: Path) -> None:
    """Variables in files win over those of an inventory file, so the inventory's own apps have to go."""
    for path in sorted(directory.rglob("*.y*ml")):
        text = path.read_text(encoding="utf-8")
        if "python_apps" not in text:
            continue
        variables = yaml.safe_load(text) if not text.startswith("$ANSIBLE_VAULT") else {}
        kept = {
            name: value
            for name, value in variables.items()
            if not name.endswith(("python_apps", "_apps_secrets"))
        }
        path.write_text(yaml.safe_dump(kept), encoding="utf-8")


def first_of_each_kind(cases: Sequence[Case]) -> set[str]:
    """The names of the cases that are run as ordinary processes."""
    firsts: dict[frozenset[str], str] = {}
    for case in cases:
        firsts.setdefault(case.kind, case.name)
    return set(firsts.values())


def run(case: Case, arguments: argparse.Namespace, server: Server | None) -> Outcome:
    """Run *case* by *server*, or as an ordinary process."""
    with tempfile.TemporaryDirectory(prefix="broken-input-") as directory:
        inventory = Path(directory) / "inventory"
        write_inventory(arguments.inventory, inventory, arguments.host, arguments.group, case)
        playbook = arguments.forked_playbook if server else arguments.playbook
        words = ["-i", str(inventory), playbook, "-e", f"python_apps_root={ROOT}"]
        start = time.monotonic()
        done = server.run(words, PATIENCE) if server else ordinary(words)
        seconds = time.monotonic() - start
    return Outcome(case, seconds, fault(case, done.returncode, done.stdout, done.stderr))


def environment() -> dict[str, str]:
    return {**os.environ, "ANSIBLE_FORCE_COLOR": "0"}


def ordinary(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook as a user does."""
    return subprocess.run(
        [str(PROGRAM), *words],
        cwd=ROOT,
        env=environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
    )


def fault(case: Case, code: int, output: str, errors: str) -> str:
    """Why this was no good refusal; empty when it was one."""
    if code == 0:
        return "it was accepted"
    if case.never and case.never in output + errors:
        return "it shows a secret"
    if "Traceback (most recent call last)" in output + errors:
        return "it shows a stack trace"
    for problem in (output + errors).split("\n\n"):
        rest = problem
        for text in case.expected:
            _, found, rest = rest.partition(text)
            if not found:
                break
        else:
            return ""
    return f"no problem names place, reason and fix {case.expected}; it says:\n{errors or output}"


def listing(container: str) -> str:
    command = ["docker", "exec", container, "sh", "-c", LISTING]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def changes(before: str, after: str) -> list[str]:
    old, new = set(before.splitlines()), set(after.splitlines())
    return [f"- {line}" for line in sorted(old - new)] + [f"+ {line}" for line in sorted(new - old)]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--inventory", type=Path, default=ROOT / "inventories" / "local", help="directory to derive from"
    )
    parser.add_argument("--host", default="local", help="the host that gets the broken apps")
    parser.add_argument("--group", default="app_hosts")
    parser.add_argument("--playbook", default="site.yml")
    parser.add_argument("--forked-playbook", default="playbooks/deploy.yml")
    parser.add_argument("--container", help="Docker container of the host, whose files must not change")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="run the cases whose name has this text")
    parser.add_argument("--ordinary", action="store_true", help="run every case as an ordinary process")
    arguments = parser.parse_args()
    cases = [case for case in load(HERE / "cases.yml") if arguments.only in case.name]
    if not cases:
        raise SystemExit(f"no case has {arguments.only!r} in its name")

    before = listing(arguments.container) if arguments.container else ""
    names = {case.name for case in cases} if arguments.ordinary else first_of_each_kind(cases)
    server = Server(environment(), ROOT)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        outcomes = list(
            pool.map(lambda case: run(case, arguments, None if case.name in names else server), cases)
        )
    # Of the ordinary processes alone: nobody has waited for the server yet.
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    server.close()
    changed = changes(before, listing(arguments.container)) if arguments.container else []

    for outcome in outcomes:
        print(f"{'FAILED ' if outcome.wrong else 'refused'} {outcome.seconds:4.1f} s  {outcome.case.name}")
        if outcome.wrong:
            print(f"  {outcome.wrong}")
    for line in changed[:40]:
        print(f"changed on the host: {line}")
    cpu = (used.ru_utime + used.ru_stime) / len(names)
    refused = sum(not outcome.wrong for outcome in outcomes)
    print(f"figure: broken_inputs_refused = {refused}/{len(outcomes)}")
    print(f"figure: broken_input_slowest_seconds = {max(outcome.seconds for outcome in outcomes):.1f}")
    print(f"figure: broken_input_cpu_seconds = {cpu:.1f}")
    if arguments.container:
        print(f"figure: broken_inputs_changed_files = {len(changed)}")
    return int(refused != len(outcomes) or bool(changed) or cpu > MOST_CPU_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
