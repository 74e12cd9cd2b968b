"""A host that the version before has made, with three apps live, and the checkouts that come after it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from deploying import HERE, ROOT, Repository, Stack, alone
from testinfra.host import Host

from tools import checkout

#: The version before, whose hosts are taken over.
BEFORE = "42dc1c2"

#: One more optional key, as a later version may have it, and the line of the schema that it stands before.
NEW_KEY = """\
        Field("brand_new", Number(1, 9), "A key of tomorrow.", "brand_new: 8", default=7),
"""
PLACE = "        *visitors.FIELDS,\n"


def app(name: str, repository: Repository, **settings: Any) -> dict[str, Any]:
    return {
        "name": name,
        "domains": [f"{name}.localhost"],
        "source": {"git": repository.url, "version": "v0"},
        "health": {"path": "/healthz", "timeout": 30},
        **settings,
    }


def repository(host: Host, name: str, source: Path, directory: Path) -> Repository:
    made = Repository(host, name, source, directory)
    for version in ("v0", "v1"):
        made.version(version)
    made.push()
    return made


@pytest.fixture(scope="session")
def before(directory: Path) -> Path:
    """A checkout of the version before."""
    packed = subprocess.run(["git", "archive", BEFORE], cwd=ROOT, capture_output=True, check=True).stdout
    made = directory / "before"
    made.mkdir()
    subprocess.run(["tar", "-x"], cwd=made, input=packed, check=True)
    return made


@pytest.fixture(scope="session")
def tomorrow(directory: Path) -> Path:
    """This checkout with one more optional key."""
    made = checkout.copied(directory / "tomorrow")
    checkout.insert(made / "plugins/plugin_utils/schema/fields/app.py", PLACE, NEW_KEY)
    return made


@pytest.fixture(scope="module")
def stack(host: Host, directory: Path, before: Path) -> Stack:
    """Three apps, all of them from the version before.

    `notes` and `shop` had two releases each, and `shop` was rolled back to its first: its second is held back.
    """
    where = directory / host.backend.host
    where.mkdir()
    (where / "greeting.j2").write_text("{{ app.name }} of {{ inventory_hostname }}\n")
    notes = app(
        "notes",
        repository(host, "notes", ROOT / "examples/django", where),
        wsgi="notes.wsgi:application",
        build=["python manage.py collectstatic --noinput"],
        migrate="python manage.py migrate --noinput",
        static={"/static/": "staticfiles", "/favicon.ico": "staticfiles/favicon.ico"},
        persistent=["data", "media"],
        env={"DJANGO_ALLOWED_HOSTS": "notes.localhost", "EXAMPLE_DIAGNOSTICS": "1"},
        secrets=["SECRET_KEY"],
    )
    links = app(
        "links",
        repository(host, "links", ROOT / "examples/flask", where),
        wsgi="wsgi:application",
        migrate="python -m links.migrate",
        static={"/static/": "links/static", "/favicon.ico": "links/static/favicon.ico"},
        persistent=["data"],
        env={"EXAMPLE_DIAGNOSTICS": "1"},
        secrets=["SECRET_KEY"],
        schedule={"nightly": {"command": "true", "at": "03:00 UTC"}},
    )
    shop = app(
        "shop",
        repository(host, "shop", HERE / "apps/jobs", where),
        wsgi="app:application",
        server="gunicorn",
        workers={"single": {"command": "python work.py single", "stop_timeout": 20}},
        persistent=["data"],
        files={"greeting.txt": str(where / "greeting.j2")},
        secrets=["TOKEN"],
    )
    made = Stack(
        host,
        alone(host, where),
        where,
        [notes, links, shop],
        {
            **{name: {"SECRET_KEY": f"only-for-this-test-of-{name}-" * 2} for name in ("notes", "links")},
            "shop": {"TOKEN": "t" * 8},
        },
        checkout=before,
    )
    made.good("site.yml")
    for changed in (notes, shop):
        changed["source"] = {**changed["source"], "version": "v1"}
    made.good("playbooks/deploy.yml")
    made.good("playbooks/rollback.yml", app="shop")
    return made
