"""Runs of site.yml: the first, one without changes, a deploy; beside the same by hand, and beside a conventional role.

A round has fresh hosts, one after the other on the same machine. By hand is `apt-get install` of the packages that the roles
install and the venvs of the three examples by uv, and no more: nobody is served by it. The conventional role is in
bench/conventional. Both other ways and ours reach their hosts by SSH, with the same ansible.cfg.
"""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.console import note
from tools.project import ROOT

from . import stats
from .hosts import Fleet, inside, send, trust, write

EXAMPLES = ("django", "flask", "pyramid")
SECRET = "only-for-this-measurement-0123456789abcdef0123456789"  # noqa: S105
NAMES = {"django": "notes", "flask": "links", "pyramid": "polls", "hello": "hello"}

#: Seconds for the bare way. The packages are what site.yml installs; the venvs are made as its releases make theirs.
BARE = """
set -e
export DEBIAN_FRONTEND=noninteractive UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1 UV_LINK_MODE=copy
export UV_COMPILE_BYTECODE=1 UV_CACHE_DIR=/root/uv PIP_CERT=/etc/ssl/certs/ca-certificates.crt
update-ca-certificates >/dev/null 2>&1
apt-get update -q
apt-get install -q -y --no-install-recommends $PACKAGES
python3 -m venv /root/tools
/root/tools/bin/pip install -q --disable-pip-version-check --require-hashes -r /root/uv.txt -r /root/uwsgi.txt
for app in notes links polls; do
    git clone -q --depth 1 file:///srv/git/$app.git /root/$app
    /root/tools/bin/uv venv -q --python /usr/bin/python3 /root/venv-$app
    if [ -f /root/$app/requirements.txt ]; then
        /root/tools/bin/uv pip install -q --python /root/venv-$app/bin/python -r /root/$app/requirements.txt
    else
        /root/tools/bin/uv pip install -q --python /root/venv-$app/bin/python /root/$app
    fi
done
"""

#: From the start of a process of the Django example to its third healthy answer, as the probe of a deploy counts them.
BOOT = """
systemctl stop app-notes
began=$(date +%s%N)
systemctl start app-notes
healthy=0
while [ $healthy -lt 3 ]; do
    if curl -s -o /dev/null --fail -H 'Host: notes.localhost' http://127.0.0.1/healthz; then
        healthy=$((healthy + 1))
    else
        sleep 0.02
    fi
done
echo $(($(date +%s%N) - began))
"""

APPS: list[dict[str, Any]] = [
    {
        "name": "notes",
        "wsgi": "notes.wsgi:application",
        "build": ["python manage.py collectstatic --noinput"],
        "migrate": "python manage.py migrate --noinput",
        "static": {"/static/": "staticfiles"},
        "persistent": ["data", "media"],
        "env": {"DJANGO_ALLOWED_HOSTS": "notes.localhost"},
    },
    {
        "name": "links",
        "wsgi": "wsgi:application",
        "migrate": "python -m links.migrate",
        "static": {"/static/": "links/static"},
        "persistent": ["data"],
    },
    {
        "name": "polls",
        "paste": "production.ini",
        "migrate": "python -m polls.migrate",
        "static": {"/static/": "polls/static"},
        "persistent": ["data"],
    },
]

STACK = {
    "python_apps": [
        {
            **app,
            "domains": [f"{app['name']}.localhost"],
            "source": {"git": f"file:///srv/git/{app['name']}.git", "version": "main"},
            "secrets": ["SECRET_KEY"],
            "health": {"path": "/healthz"},
        }
        for app in APPS
    ],
    "vault_python_apps_secrets": {app["name"]: {"SECRET_KEY": SECRET} for app in APPS},
}

CONVENTIONAL = {
    "apps": [
        {
            "name": app["name"],
            "domains": [f"{app['name']}.localhost"],
            "repository": f"file:///srv/git/{app['name']}.git",
            "package": "paste" in app,
            "paste": app.get("paste", ""),
            "wsgi": app.get("wsgi", ""),
            "migrate": app["migrate"],
            "build": (app.get("build") or [""])[0],
            "static": app["static"]["/static/"],
            "env": {**app.get("env", {}), "SECRET_KEY": SECRET},
        }
        for app in APPS
    ]
}


@dataclass
class Measured:
    """Seconds of each round, by what was run and how."""

    first: dict[str, list[float]] = field(default_factory=dict)
    again: dict[str, list[float]] = field(default_factory=dict)
    deploy: dict[str, list[float]] = field(default_factory=dict)
    #: The command of our deploy, with nothing to deploy.
    nothing: list[float] = field(default_factory=list)
    boot: list[float] = field(default_factory=list)
    #: The app's own commands in our deploy: its build and its migration.
    commands: list[float] = field(default_factory=list)
    tasks: int = 0


class Repository:
    """An example as a Git repository on hosts, with a version more whenever it is told."""

    def __init__(self, directory: Path, example: str) -> None:
        self.name = NAMES[example]
        self.work = directory / self.name
        self.work.mkdir()
        source = ROOT / ("bench/apps" if example == "hello" else "examples") / example
        listed = subprocess.run(
            ["git", "ls-files", "-z", "."], cwd=source, capture_output=True, text=True, check=True
        ).stdout
        for path in filter(None, listed.split("\0")):
            target = self.work / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((source / path).read_bytes())
        self._git("init", "--quiet", "--initial-branch=main")
        self.commit("first")

    def _git(self, *words: str) -> None:
        identity = ["-c", "user.name=Bench", "-c", "user.email=bench@example.com"]
        subprocess.run(["git", *identity, *words], cwd=self.work, check=True, capture_output=True)

    def commit(self, message: str) -> None:
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", message)

    def change(self, path: str, line: str) -> None:
        with (self.work / path).open("a") as file:
            file.write(f"{line}\n")
        self.commit(line)

    def push(self, name: str) -> None:
        inside(name, f"rm -rf /srv/git/{self.name}.git && mkdir -p /srv/git")
        send(name, self.work / ".git", f"/srv/git/{self.name}.git")


def packages(name: str) -> list[str]:
    """What apt was told to install on a host."""
    return sorted(inside(name, "apt-mark showmanual").split())


def fresh(hosts: Fleet, name: str, debian: int, repositories: list[Repository]) -> str:
    """A host that has the repositories and trusts this machine's network, and nothing else."""
    hosts.add(name, debian)
    # Whoever fetches may, whoever owns the repository.
    write(name, "/etc/gitconfig", "[safe]\n\tdirectory = *\n")
    for repository in repositories:
        repository.push(name)
    trust(name)
    return name


def bare(name: str, wanted: list[str]) -> float:
    send(name, ROOT / "roles/python_apps/files/uv.txt", "/root/uv.txt")
    send(name, ROOT / "roles/uwsgi_emperor/files/uwsgi.txt", "/root/uwsgi.txt")
    began = time.monotonic()
    inside(name, BARE, env={"PACKAGES": " ".join(wanted)})
    return time.monotonic() - began


def measure(hosts: Fleet, debian: int, rounds: int, repeats: int) -> Measured:
    """*rounds* of fresh hosts; on the last ones, *repeats* runs without changes and deploys."""
    found = Measured()
    repositories = [Repository(hosts.directory, example) for example in EXAMPLES]
    wanted: list[str] = []

    def stack() -> float:
        name = fresh(hosts, "bench-stack", debian, repositories)
        before = packages(name)
        seconds = hosts.play("site.yml", [name], STACK).seconds
        wanted[:] = sorted(set(packages(name)) - set(before))
        return seconds

    def by_hand() -> float:
        name = fresh(hosts, "bench-bare", debian, repositories)
        seconds = bare(name, wanted)
        hosts.remove(name)
        return seconds

    def conventional() -> float:
        name = fresh(hosts, "bench-usual", debian, repositories)
        return hosts.play("bench/conventional/site.yml", [name], CONVENTIONAL).seconds

    kinds = {"stack": stack, "bare": by_hand, "conventional": conventional}
    for number in range(rounds):
        # The first of a round may find the machine's caches cold.
        for kind in stats.turn(list(kinds), number):
            found.first.setdefault(kind, []).append(kinds[kind]())
        note(
            f"round {number + 1} of {rounds}: first "
            + ", ".join(f"{key} {values[-1]:.0f} s" for key, values in found.first.items())
        )
    repeat(hosts, found, repositories[0], repeats)
    hosts.remove("bench-stack")
    hosts.remove("bench-usual")
    return found


def repeat(hosts: Fleet, found: Measured, django: Repository, repeats: int) -> None:
    stack, usual = "bench-stack", "bench-usual"
    for number in range(repeats):
        run = hosts.play("site.yml", [stack], STACK)
        require_no_change(run.changed, "site.yml")
        found.tasks = run.ok[stack]
        found.again.setdefault("stack", []).append(run.seconds)
        run = hosts.play("bench/conventional/site.yml", [usual], CONVENTIONAL)
        require_no_change(run.changed, "the conventional role")
        found.again.setdefault("conventional", []).append(run.seconds)
        django.change("notes/views.py", f"# One line more: {number}")
        for name in (stack, usual):
            django.push(name)
        run = hosts.play("playbooks/deploy.yml", [stack], {**STACK, "app": "notes"})
        found.deploy.setdefault("stack", []).append(run.seconds)
        took = json.loads(inside(stack, "tail -n 1 /srv/apps/notes/state/history.jsonl"))["took"]
        found.commands.append(took["build"] + took["migrate"])
        run = hosts.play("playbooks/deploy.yml", [stack], {**STACK, "app": "notes"})
        require_no_change(run.changed, "deploy.yml")
        found.nothing.append(run.seconds)
        run = hosts.play("bench/conventional/site.yml", [usual], CONVENTIONAL)
        found.deploy.setdefault("conventional", []).append(run.seconds)
        found.boot.append(int(inside(usual, BOOT)) / 1e9)
        note(
            f"repeat {number + 1} of {repeats}: no change {found.again['stack'][-1]:.1f} s, "
            f"deploy {found.deploy['stack'][-1]:.1f} s, of which boot and probe {found.boot[-1]:.1f} s"
        )


def require_no_change(changed: dict[str, int], what: str) -> None:
    if any(changed.values()):
        raise RuntimeError(
            f"a run of {what} that should change nothing changed {changed}; its time means nothing"
        )
