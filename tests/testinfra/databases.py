"""A controller of several hosts, each with apps of its own, of which the first has the databases of all."""

from __future__ import annotations

import json
import shutil
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from deploying import Stack
from testinfra.host import Host

from tools import playbook_server

HERE = Path(__file__).resolve().parent
QUEUE = {"path": str(HERE / "apps/queue")}
PASSWORD = "only-for-this-test-of-backups"
SECRET = "only-for-this-test-0123456789abcdef0123456789abcdef"


def app(name: str, **keys: Any) -> dict[str, Any]:
    return {
        "name": name,
        "domains": [f"{name}.localhost"],
        "source": {"path": str(HERE / "apps/rows")},
        "wsgi": "app:application",
        "migrate": "python migrate.py",
        "database": "postgresql",
        "web": {"processes": 1, "threads": 2},
        "health": {"path": "/", "answers": 1},
        **keys,
    }


def pair(directory: Path) -> Path:
    """The source of an app that runs on both hosts, in *directory*, for a test to change."""
    place = directory / "pair"
    if not place.exists():
        shutil.copytree(HERE / "apps/rows", place, ignore=shutil.ignore_patterns("__pycache__"))
    return place


@dataclass
class Controller(Stack):
    """With apps by host, and runs over both hosts."""

    by_host: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)

    def command(self, playbook: str, *words: str, **extra: object) -> list[str]:
        hosts = {
            name: {
                "ansible_connection": "community.docker.docker",
                "host_address": self.addresses[name],
                "python_apps": apps,
            }
            for name, apps in self.by_host.items()
        }
        common = {
            "vault_services_secret": SECRET,
            "base_ca_certificates": "{{ query('ansible.builtin.fileglob', '/usr/local/share/ca-certificates/*.crt') }}",
        }
        groups = {
            "app_hosts": {"hosts": hosts},
            "databases": {"hosts": {next(iter(hosts)): None}},
            "backup_server": {"hosts": {next(iter(hosts)): None}},
            "all": {"vars": {**common, **self.variables}},
        }
        self.inventory.write_text(yaml.safe_dump(groups))
        path = self.directory / f"vars-{time.monotonic_ns()}.json"
        path.write_text(json.dumps(extra))
        return [str(playbook_server.PROGRAM), "-i", str(self.inventory), playbook, "-e", f"@{path}", *words]

    def reaches(self, server: Host) -> bool:
        """Whether this machine, which has no app, gets a connection to PostgreSQL on *server*."""
        try:
            with socket.create_connection((self.addresses[server.backend.host], 5432), timeout=3):
                return True
        except OSError:
            return False


def get(host: Host, name: str, path: str) -> str:
    return host.check_output("curl -sS -H %s %s", f"Host: {name}.localhost", f"http://127.0.0.1{path}")


def sql(server: Host, statement: str, database: str = "postgres") -> str:
    return server.check_output(
        "runuser -u postgres -- psql -XAtq -h /run/postgresql -d %s -c %s", database, statement
    )


def environment(host: Host, name: str) -> dict[str, str]:
    path = f"/srv/apps/{name}/active/release/environment.json"
    return dict(json.loads(host.check_output("cat %s", path))["environment"])
