"""One host, one Django app from git with a version per deploy, and a bare app for everything that needs odd releases."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from deploying import HERE, ROOT, Repository, Stack
from testinfra.host import Host


def app_from_git(name: str, repository: Repository, version: str, **settings: Any) -> dict[str, Any]:
    return {
        "name": name,
        "domains": [f"{name}.localhost"],
        "source": {"git": repository.url, "version": version},
        "health": {"path": "/healthz", "timeout": 30},
        **settings,
    }


@pytest.fixture(scope="session")
def bare(machine: Host, directory: Path) -> Repository:
    repository = Repository(machine, "bare", HERE / "apps" / "bare", directory)
    repository.version("v0")
    repository.push()
    return repository


@pytest.fixture(scope="session")
def notes(machine: Host, directory: Path) -> Repository:
    """The Django example with its versions."""
    repository = Repository(machine, "notes", ROOT / "examples" / "django", directory)
    for number in range(14):
        repository.version(f"v{number}")
    repository.push()
    return repository


@pytest.fixture(scope="session")
def stack(machine: Host, directory: Path, bare: Repository, notes: Repository) -> Stack:
    inventory = Path(os.environ["MOLECULE_INVENTORY_FILE"])
    django = app_from_git(
        "notes",
        notes,
        "v0",
        wsgi="notes.wsgi:application",
        build=["python manage.py collectstatic --noinput"],
        migrate="python manage.py migrate --noinput",
        static={"/static/": "staticfiles", "/favicon.ico": "staticfiles/favicon.ico"},
        persistent=["data", "media"],
        env={"DJANGO_ALLOWED_HOSTS": "notes.localhost", "EXAMPLE_DIAGNOSTICS": "1"},
        secrets=["SECRET_KEY"],
        web={"processes": 2, "threads": 4},
    )
    apps = [django, app_from_git("bare", bare, "v0", wsgi="app:application")]
    made = Stack(machine, inventory, directory, apps, {"notes": {"SECRET_KEY": "only-for-this-test-" * 3}})
    made.good("site.yml")
    return made
