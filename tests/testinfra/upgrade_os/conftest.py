"""A host of Debian 12 with three apps, each of which has a release to go back to, and one with a database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import databases
import pytest
from deploying import HERE, ROOT, Repository, Stack
from testinfra.host import Host


def app(host: Host, name: str, source: Path, directory: Path, **settings: Any) -> dict[str, Any]:
    repository = Repository(host, name, source, directory)
    for version in ("v0", "v1"):
        repository.version(version)
    repository.push()
    return {
        "name": name,
        "domains": [f"{name}.localhost"],
        "source": {"git": repository.url, "version": "v0"},
        "health": {"path": "/healthz", "timeout": 60},
        **settings,
    }


@pytest.fixture(scope="session")
def stack(machine: Host, directory: Path) -> Stack:
    """Django with static files and Flask under uWSGI, and an app under gunicorn with a worker and a timer."""
    notes = app(
        machine,
        "notes",
        ROOT / "examples/django",
        directory,
        wsgi="notes.wsgi:application",
        build=["python manage.py collectstatic --noinput"],
        migrate="python manage.py migrate --noinput",
        static={"/static/": "staticfiles", "/favicon.ico": "staticfiles/favicon.ico"},
        persistent=["data", "media"],
        env={"DJANGO_ALLOWED_HOSTS": "notes.localhost", "EXAMPLE_DIAGNOSTICS": "1"},
        secrets=["SECRET_KEY"],
    )
    links = app(
        machine,
        "links",
        ROOT / "examples/flask",
        directory,
        wsgi="wsgi:application",
        migrate="python -m links.migrate",
        static={"/static/": "links/static", "/favicon.ico": "links/static/favicon.ico"},
        persistent=["data"],
        env={"EXAMPLE_DIAGNOSTICS": "1"},
        secrets=["SECRET_KEY"],
    )
    shop = app(
        machine,
        "shop",
        HERE / "apps/jobs",
        directory,
        wsgi="app:application",
        server="gunicorn",
        workers={"single": {"command": "python work.py single", "stop_timeout": 20}},
        schedule={"nightly": {"command": "python -c 'import sys; print(sys.version)'", "at": "03:00 UTC"}},
        persistent=["data"],
        secrets=["TOKEN"],
    )
    made = Stack(
        machine,
        Path(os.environ["MOLECULE_INVENTORY_FILE"]),
        directory,
        [notes, links, shop, databases.app("ledger", health={"path": "/", "answers": 1, "timeout": 60})],
        {
            **{name: {"SECRET_KEY": f"only-for-this-test-of-{name}-" * 2} for name in ("notes", "links")},
            "shop": {"TOKEN": "t" * 8},
        },
        {"postgresql_version": "15"},
    )
    made.good("site.yml")
    for changed in (notes, links, shop):
        changed["source"] = {**changed["source"], "version": "v1"}
    made.good("playbooks/deploy.yml")
    return made
