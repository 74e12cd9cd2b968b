"""A deploy beside a `git push` to a platform in one file: seconds until the new line answers and the command is back.

The platform is bench/peers/paas.py: no known one can be had from the registries of packages, so it is written by hand to
do what these do. The same commit of the same example goes to both hosts, by SSH, in interleaved rounds.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tools.console import Stop, note, run
from tools.project import ROOT

from . import stats
from .converge import APPS, SECRET, Repository
from .hosts import Fleet, inside, send, trust, write

PEERS = Path(__file__).resolve().parent / "peers"
OURS, THEIRS = "bench-ours", "bench-push"
#: How the new line comes to its host: by their push; by our command on the host; by our playbook from here.
WAYS = {"push": THEIRS, "command": OURS, "playbook": OURS}

#: An answer says which line it comes from.
WSGI = """

from notes.mark import MARK  # noqa: E402

_inner = application


def application(environ, start_response):
    return _inner(environ, lambda status, headers, *rest: start_response(status, [*headers, ("X-Mark", MARK)], *rest))
"""

PROCFILE = """wsgi: notes.wsgi:application
release: mkdir -p data && python manage.py collectstatic --noinput -v 0 && python manage.py migrate --noinput -v 0
"""

#: What an app is told by a file in its repository, for the platform. Both hosts give it two processes of two threads.
SETTINGS = f"""SECRET_KEY={SECRET}
DJANGO_ALLOWED_HOSTS=.localhost
PROCESSES=2
THREADS=2
"""

#: Says when an answer has the mark of its argument for the first time.
ASK = """
import http.client, sys, time
print("asking", flush=True)
end = time.monotonic() + 300
while time.monotonic() < end:
    try:
        client = http.client.HTTPConnection("127.0.0.1", 80, timeout=10)
        client.request("GET", "/healthz", headers={"Host": "notes.localhost"})
        answer = client.getresponse()
        if answer.status == 200 and answer.headers["X-Mark"] == sys.argv[1]:
            print(time.time(), flush=True)
            break
        client.close()
    except OSError:
        pass
    time.sleep(0.02)
"""

#: Nanoseconds of processor that a host had, on cgroup v1 and on v2.
SPENT = """
cat /sys/fs/cgroup/cpuacct/cpuacct.usage 2>/dev/null ||
    awk '$1 == "usage_usec" {print $2 * 1000}' /sys/fs/cgroup/cpu.stat
"""


@dataclass
class Measured:
    """Of each way, in the order of the rounds."""

    #: Seconds from the start of the command until the new line answered, and until the command was back as well.
    answered: dict[str, list[float]] = field(default_factory=dict)
    returned: dict[str, list[float]] = field(default_factory=dict)
    #: Processor seconds, of the host and of the program here.
    spent: dict[str, list[float]] = field(default_factory=dict)
    #: Of our command: the seconds of its steps.
    took: list[dict[str, float]] = field(default_factory=list)
    peer: str = ""


def app() -> dict[str, object]:
    found = next(one for one in APPS if one["name"] == "notes")
    return {
        **found,
        "domains": ["notes.localhost"],
        "source": {"git": "file:///srv/git/notes.git", "version": "main"},
        "secrets": ["SECRET_KEY"],
        "health": {"path": "/healthz"},
        "web": {"processes": 2, "threads": 2},
    }


def repository(directory: Path) -> Repository:
    """The Django example, with a line that answers show, and with what the platform wants."""
    found = Repository(directory, "django")
    with (found.work / "notes/wsgi.py").open("a") as file:
        file.write(WSGI)
    (found.work / "Procfile").write_text(PROCFILE)
    (found.work / "ENV").write_text(SETTINGS)
    mark(found, "0")
    return found


def mark(repository: Repository, text: str) -> None:
    (repository.work / "notes/mark.py").write_text(f'MARK = "{text}"\n')
    repository.commit(f"Mark {text}")


def peer(hosts: Fleet) -> str:
    """Make the host that is pushed to; the address to push to."""
    key = hosts.key.with_suffix(".pub").read_text().strip()
    send(THEIRS, PEERS / "paas.py", "/usr/local/lib/paas.py")
    write(THEIRS, "/root/peer.sh", (PEERS / "paas.sh").read_text())
    run(["docker", "exec", THEIRS, "sh", "/root/peer.sh", key], timeout=600)
    return f"paas@{hosts.address(THEIRS)}:notes"


def ssh(hosts: Fleet) -> str:
    """An SSH like Ansible's: with the same key, and with a connection that stays."""
    return (
        f"ssh -i {hosts.key} -o UserKnownHostsFile={hosts.directory}/known_hosts -o ControlMaster=auto"
        f" -o ControlPersist=300 -o ControlPath={hosts.directory}/%C"
    )


def timed(
    found: Measured, way: str, name: str, expected: str, work: list[str], environment: dict[str, str]
) -> None:
    """Run the command *work*, and note when it was back and when host *name* answered with *expected*."""
    asking = subprocess.Popen(
        ["docker", "exec", name, "python3", "-c", ASK, expected], stdout=subprocess.PIPE, text=True
    )
    if asking.stdout:
        asking.stdout.readline()
    host, here = int(inside(name, SPENT)), _children()
    began = time.time()
    done = subprocess.run(
        work, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    back = time.time()
    spent_here = _children() - here
    answered, _ = asking.communicate(timeout=330)
    if done.returncode or not answered:
        raise Stop(
            f"{way} failed: {(done.stdout + done.stderr)[-2000:]}",
            "The measurement means nothing without it.",
        )
    end = max(back, float(answered))
    found.answered.setdefault(way, []).append(float(answered) - began)
    found.returned.setdefault(way, []).append(end - began)
    spent = (int(inside(name, SPENT)) - host) / 1e9 + spent_here
    found.spent.setdefault(way, []).append(spent)


def steps(name: str) -> dict[str, float]:
    """The seconds of the steps of the last deploy on host *name*."""
    said = inside(name, "tail -n 1 /srv/apps/notes/state/history.jsonl")
    return dict(json.loads(said)["took"])


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(hosts: Fleet, debian: int, rounds: int) -> Measured:
    found = Measured(peer="paas.py, written by hand")
    source = repository(hosts.directory)
    for name in (OURS, THEIRS):
        hosts.add(name, debian)
        trust(name)
    write(OURS, "/etc/gitconfig", "[safe]\n\tdirectory = *\n")
    source.push(OURS)
    variables = {"python_apps": [app()], "vault_python_apps_secrets": {"notes": {"SECRET_KEY": SECRET}}}
    hosts.play("site.yml", [OURS], variables)
    target = peer(hosts)
    push = ["git", "-C", str(source.work), "push", "--quiet", target, "main"]
    environment = {"GIT_SSH_COMMAND": ssh(hosts)}
    subprocess.run(push, env={**os.environ, **environment}, check=True, capture_output=True)
    command = [*ssh(hosts).split(), f"root@{hosts.address(OURS)}", "emperor", "deploy", "notes", "main"]
    play, variables_of_play = hosts.command("playbooks/deploy.yml", [OURS], {**variables, "app": "notes"})
    work = {"push": push, "command": command, "playbook": play}
    # A first round, which finds everything cold, is not counted.
    for number in range(-1, rounds):
        into = found if number >= 0 else Measured()
        for way in stats.turn(list(WAYS), max(number, 0)):
            text = f"{way} {number}"
            mark(source, text)
            if WAYS[way] == OURS:
                source.push(OURS)
            # The lock of the deploy before is free, and nothing of it runs any more.
            time.sleep(1)
            timed(into, way, WAYS[way], text, work[way], environment | variables_of_play)
            if way == "command":
                into.took.append(steps(OURS))
        note(
            f"round {number + 1} of {rounds}: "
            + ", ".join(f"{way} {values[-1]:.2f} s" for way, values in into.returned.items())
        )
    for name in (OURS, THEIRS):
        hosts.remove(name)
    return found
