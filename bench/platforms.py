"""Ways to put apps on a host: this bundle, and the others of bench/peers. Each has a host of its own, reached by SSH."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.console import Stop, run
from tools.project import ROOT

from . import push, served
from .converge import SECRET, Repository, fresh
from .hosts import Fleet, Played, inside, write

#: For every app of the others. Both Django's and Flask's find their key here.
ENVIRONMENT = {"SECRET_KEY": SECRET, "DJANGO_ALLOWED_HOSTS": ".localhost"}
#: All ways have so many of both.
PROCESSES = {"processes": 2, "threads": 2}


@dataclass(frozen=True)
class Kind:
    """An app as the other ways need it. A copy of it has a number behind its name."""

    wsgi: str
    static: str = ""
    #: What a deploy runs.
    release: str = "true"


KINDS = {
    "hello": Kind("app:application"),
    "links": Kind("wsgi:application", "links/static", "python -m links.migrate"),
    "notes": Kind(
        "notes.wsgi:application",
        "staticfiles",
        "python manage.py collectstatic --noinput -v 0 && python manage.py migrate --noinput -v 0",
    ),
}


def kind(app: str) -> str:
    return app.rstrip("0123456789")


def repositories(directory: Path) -> dict[str, Repository]:
    """The apps as Git repositories, with what the way by push wants to find in them."""
    found = {"notes": push.repository(directory)}
    for name, example in (("hello", "hello"), ("links", "flask")):
        repository = found[name] = Repository(directory, example)
        (repository.work / "Procfile").write_text(
            f"wsgi: {KINDS[name].wsgi}\nstatic: {KINDS[name].static}\n"
            f"release: mkdir -p data && {KINDS[name].release}\n"
        )
        (repository.work / "ENV").write_text(push.SETTINGS)
        if name == "hello":
            (repository.work / "requirements.txt").touch()
        repository.commit("Say how it is deployed")
    return found


@dataclass
class Way:
    """One way to have apps on a host."""

    hosts: Fleet
    sources: Mapping[str, Repository]
    label: str = ""
    host: str = ""
    #: On its host: where an app's code and its Python are, and whose they are.
    code: str = ""
    python: str = ""
    user: str = ""

    def prepare(self, debian: int) -> None:
        """A fresh host with the apps' code."""
        if self.host in self.hosts.names:
            self.hosts.remove(self.host)
        fresh(self.hosts, self.host, debian, list(self.sources.values()))

    def set_up(self, apps: Sequence[str]) -> Played | None:
        """Bring the host to these apps. What a playbook says of it, where it is one."""
        raise NotImplementedError

    def deploy(self, app: str) -> tuple[list[str], dict[str, str]]:
        """The words that deploy what was committed last, and their environment."""
        raise NotImplementedError

    def publish(self, app: str) -> None:
        """Let the host find what was committed last. Nothing of it is timed."""
        self.sources[kind(app)].push(self.host)

    def rows(self, app: str) -> None:
        """Write rows for pages that look like pages."""
        if app not in served.ROWS:
            return
        write(self.host, f"/srv/{app}.rows.py", served.ROWS[app])
        settings = {**ENVIRONMENT, "PYTHONPATH": ".", "DJANGO_SETTINGS_MODULE": "notes.settings"}
        words = " ".join(f"{key}={value}" for key, value in settings.items())
        code, python = (text.format(app=app) for text in (self.code, self.python))
        inside(
            self.host, f"runuser -u {self.user} -- sh -c 'cd {code} && {words} {python} /srv/{app}.rows.py'"
        )


@dataclass
class Ours(Way):
    label: str = "this bundle"
    host: str = "bench-ours"
    playbook: bool = field(default=True)

    def variables(self, apps: Sequence[str]) -> dict[str, Any]:
        known = {app["name"]: app for app in served.APPS}
        entries = [
            {
                **known[kind(app)],
                "name": app,
                "domains": [f"{app}.localhost"],
                "source": {"git": f"file:///srv/git/{kind(app)}.git", "version": "main"},
                "web": PROCESSES,
                **({"env": {"DJANGO_ALLOWED_HOSTS": ".localhost"}} if kind(app) == "notes" else {}),
            }
            for app in apps
        ]
        secrets = {app: {"SECRET_KEY": SECRET} for app in apps if "secrets" in known[kind(app)]}
        return {"python_apps": entries, "vault_python_apps_secrets": secrets}

    def set_up(self, apps: Sequence[str]) -> Played:
        return self.hosts.play("site.yml", [self.host], self.variables(apps))

    def deploy(self, app: str) -> tuple[list[str], dict[str, str]]:
        """By the playbook, or by `emperor` on the host."""
        if self.playbook:
            variables = {**self.variables(list(KINDS)), "app": app}
            return self.hosts.command("playbooks/deploy.yml", [self.host], variables)
        address = self.hosts.address(self.host)
        return [*push.ssh(self.hosts).split(), f"root@{address}", "emperor", "deploy", app, "main"], {}

    def rows(self, app: str) -> None:
        if app in served.ROWS:
            inside(self.host, "mkdir -p /srv/bench")
            served.fill(self.host, app)


@dataclass
class Playbook(Way):
    """bench/peers/site.yml."""

    way: str = ""
    code: str = "/srv/{app}/current"
    python: str = "/srv/{app}/venv/bin/python"
    user: str = "www-data"

    def variables(self, apps: Sequence[str]) -> dict[str, Any]:
        entries = [
            {
                "name": app,
                "repository": f"file:///srv/git/{kind(app)}.git",
                "wsgi": KINDS[kind(app)].wsgi,
                "static": KINDS[kind(app)].static,
                "release": KINDS[kind(app)].release,
                "env": ENVIRONMENT,
            }
            for app in apps
        ]
        return {"way": self.way, "apps": entries}

    def set_up(self, apps: Sequence[str]) -> Played:
        return self.hosts.play("bench/peers/site.yml", [self.host], self.variables(apps))

    def deploy(self, app: str) -> tuple[list[str], dict[str, str]]:
        words, environment = self.hosts.command("bench/peers/site.yml", [self.host], self.variables([app]))
        return [*words, "--tags", "deploy"], environment


@dataclass
class Push(Way):
    """bench/peers/paas.py."""

    label: str = "a push, as piku"
    host: str = push.THEIRS
    code: str = "/home/paas/apps/{app}"
    python: str = "/home/paas/venvs/{app}/bin/python"
    user: str = "paas"

    def set_up(self, apps: Sequence[str]) -> None:
        if inside(self.host, "id paas 2>/dev/null || true") == "":
            inside(self.host, "apt-get update -q >/dev/null")
            push.peer(self.hosts)
        for app in apps:
            words, environment = self.deploy(app)
            run(words, env={**os.environ, **environment}, timeout=600)

    def deploy(self, app: str) -> tuple[list[str], dict[str, str]]:
        target = f"paas@{self.hosts.address(self.host)}:{app}"
        words = ["git", "-C", str(self.sources[kind(app)].work), "push", "--quiet", target, "main"]
        return words, {"GIT_SSH_COMMAND": push.ssh(self.hosts)}

    def publish(self, app: str) -> None:
        """The push brings it."""


def ways(hosts: Fleet, sources: Mapping[str, Repository]) -> dict[str, Way]:
    """By the names that the figures have."""
    return {
        "ours": Ours(hosts, sources),
        "push": Push(hosts, sources),
        "releases": Playbook(
            hosts, sources, "releases and Debian's emperor, as ansistrano", "bench-releases", way="releases"
        ),
        "supervised": Playbook(
            hosts, sources, "gunicorn and supervisor, in place", "bench-supervised", way="supervised"
        ),
    }


#: The status and the length of an answer; 0 where there is none. A host may be without curl.
ASK = """
import http.client, sys
client = http.client.HTTPConnection("127.0.0.1", 80, timeout=10)
try:
    client.request("GET", sys.argv[2], headers={"Host": sys.argv[1]})
    answer = client.getresponse()
    print(answer.status, len(answer.read()))
except (OSError, http.client.HTTPException):
    print(0, 0)
"""


def ask(name: str, app: str, path: str = "") -> tuple[int, int]:
    """The status and the length of *app*'s answer on its host."""
    path = path or ("/" if kind(app) == "hello" else "/healthz")
    said = run(["docker", "exec", name, "python3", "-c", ASK, f"{app}.localhost", path]).stdout
    status, length = map(int, said.split())
    return status, length


def wait(name: str, app: str, seconds: float = 60) -> None:
    """Until *app* answers on its host."""
    deadline = time.monotonic() + seconds
    while ask(name, app)[0] != 200:
        if time.monotonic() > deadline:
            raise Stop(f"{app} on {name} does not answer", "The measurement means nothing without it.")
        time.sleep(0.05)


def words_of(way: Way, app: str) -> subprocess.CompletedProcess[str]:
    """Deploy *app*, whatever becomes of it."""
    words, environment = way.deploy(app)
    return subprocess.run(
        words, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
