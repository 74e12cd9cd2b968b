"""Measure what runs of a controller take over plain SSH: site.yml without changes at 1, 10 and 100 apps, and a deploy.

One host, sshd in it, and the bundle's own ansible.cfg: pipelining and a kept connection, no accelerator. All apps but the
Django example sleep, so that the host is not what is measured. Prints medians, and counts of tasks and round trips.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tools import engine, image, ssh_access
from tools.console import command, note, step
from tools.project import ROOT

from .converge import host

SUMMARY = re.compile(
    r"^profile: ([\d.]+) seconds, (\d+) tasks, (\d+) skipped, (\d+) round trips$", re.MULTILINE
)


def example(source: Path) -> dict[str, Any]:
    """The Django example, from a copy that can be changed."""
    return {
        "name": "notes",
        "domains": ["notes.localhost"],
        "source": {"path": str(source)},
        "wsgi": "notes.wsgi:application",
        "build": ["python manage.py collectstatic --noinput"],
        "migrate": "python manage.py migrate --noinput",
        "static": {"/static/": "staticfiles"},
        "persistent": ["data", "media"],
        "env": {"DJANGO_ALLOWED_HOSTS": "notes.localhost"},
        "secrets": ["SECRET_KEY"],
        "health": {"path": "/healthz"},
    }


def sleeping(number: int) -> dict[str, Any]:
    name = f"idle-{number:03}"
    return {
        "name": name,
        "domains": [f"{name}.localhost"],
        "source": {"path": "tests/testinfra/apps/tiny"},
        "wsgi": "app:application",
        "on_demand": True,
        "health": {"answers": 1},
    }


class Controller:
    """An inventory with one host, and playbooks that run against it."""

    def __init__(self, name: str, directory: Path, source: Path) -> None:
        self.directory, self.source = directory, source
        variables = ssh_access.let_in(name, directory)
        inventory = directory / "inventory"
        inventory.mkdir()
        hosts = {"app_hosts": {"hosts": {name: variables}}}
        (inventory / "hosts.json").write_text(json.dumps(hosts))
        (inventory / "group_vars").mkdir()
        shutil.copytree(ROOT / "inventories/local/group_vars/all", inventory / "group_vars/all")
        self.variables = inventory / "group_vars/all/apps.yml"

    def want(self, count: int) -> None:
        apps = [example(self.source), *(sleeping(number) for number in range(1, count))]
        secrets = {"notes": {"SECRET_KEY": "only-for-this-measurement-" * 3}}
        declared = {"python_apps": apps, "vault_python_apps_secrets": secrets}
        self.variables.write_text(json.dumps(declared))

    def play(self, playbook: str, *words: str) -> tuple[float, str]:
        program = Path(sys.executable).with_name("ansible-playbook")
        environment = {
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACKS_ENABLED": "emperor.stack.profile",
        }
        began = time.monotonic()
        done = subprocess.run(
            [str(program), "-i", str(self.variables.parents[2]), playbook, *words],
            cwd=ROOT, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        seconds = time.monotonic() - began
        if done.returncode:
            sys.exit(done.stdout[-6000:] + done.stderr[-2000:])
        return seconds, done.stdout


def no_change(controller: Controller, count: int, rounds: int) -> None:
    step(f"{count} apps: site.yml, then {rounds} runs without changes")
    controller.want(count)
    seconds, _ = controller.play("site.yml")
    note(f"the first one took {seconds:.1f} s")
    runs = []
    for _ in range(rounds):
        seconds, said = controller.play("site.yml")
        if re.search(r"changed=[1-9]", said):
            sys.exit(f"a run without changes changed something:\n{said[-4000:]}")
        runs.append(seconds)
    tasks, _, trips = SUMMARY.findall(said)[-1][1:]
    note(f"{', '.join(f'{seconds:.1f}' for seconds in runs)} s; {tasks} tasks, {trips} round trips")
    print(f"figure: no_change_seconds_{count}_apps = {statistics.median(runs):.1f}")
    print(f"figure: no_change_tasks_{count}_apps = {tasks}")
    print(f"figure: no_change_round_trips_{count}_apps = {trips}")


def deploys(controller: Controller, rounds: int) -> None:
    step(f"{rounds} deploys of a one-line change of the Django example")
    runs = []
    for number in range(rounds):
        with (controller.source / "notes" / "wsgi.py").open("a") as file:
            file.write(f"# change {number}\n")
        seconds, said = controller.play("playbooks/deploy.yml", "-e", "app=notes")
        if "is live as" not in said:
            sys.exit(f"nothing was deployed:\n{said[-4000:]}")
        runs.append(seconds)
    note(f"{', '.join(f'{seconds:.1f}' for seconds in runs)} s")
    print(said[said.index("PROFILE") :] if "PROFILE" in said else "")
    print(f"figure: deploy_seconds = {statistics.median(runs):.1f}")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--debian", type=int, default=13)
    parser.add_argument("--apps", type=int, nargs="+", default=[1, 10, 100])
    options = parser.parse_args(arguments)
    engine.ensure()
    image.ensure(options.debian)
    with tempfile.TemporaryDirectory() as name, host("bench-ssh", options.debian) as machine:
        directory = Path(name)
        shutil.copytree(ROOT / "examples/django", directory / "django", ignore=shutil.ignore_patterns(".*"))
        controller = Controller(machine, directory, directory / "django")
        for count in sorted(options.apps):
            no_change(controller, count, options.rounds)
            if count == min(options.apps):
                deploys(controller, options.rounds)
    return 0


if __name__ == "__main__":
    command(main)
