"""Two hosts with apps, of which the first has the databases of both, and their controller."""

from __future__ import annotations

from pathlib import Path

import pytest
from authority import host_named
from databases import PASSWORD, QUEUE, Controller, app, pair
from testinfra.host import Host


@pytest.fixture(scope="session")
def server() -> Host:
    return host_named("data-debian13")


@pytest.fixture(scope="session")
def client() -> Host:
    return host_named("data-debian12")


@pytest.fixture(scope="session")
def controller(server: Host, client: Host, directory: Path) -> Controller:
    database = {"engine": "postgresql", "extensions": ["pg_trgm"]}
    worker = {"jobs": {"command": "python work.py"}}
    celery = {
        "jobs": {"command": "celery --app tasks worker --concurrency 1 --without-gossip --without-mingle"}
    }
    both = app("pair", source={"path": str(pair(directory))})
    queue = {"source": QUEUE, "database": None, "migrate": None, "redis": True, "workers": celery}
    made = Controller(
        server,
        directory / "hosts.yml",
        directory,
        addresses={
            host.backend.host: host.check_output("hostname -I").split()[0] for host in (server, client)
        },
        by_host={
            server.backend.host: [
                app("blog", database=database, workers=worker, persistent=["data"]),
                app("other"),
                app("queue", **queue),
                both,
            ],
            client.backend.host: [app("my-shop", workers=worker), app("mail-queue", **queue), both],
        },
    )
    # Never by itself: the tests say when.
    never = "2099-01-01 02:00:00"
    made.variables = {
        "backup_password": PASSWORD,
        "backup_at": never,
        "backup_test_at": never,
        "backup_server_at": never,
        "postgresql_point_in_time": {"repo1-path": "/srv/pgbackrest", "repo1-retention-full": 2},
        "postgresql_point_in_time_at": never,
    }
    # Eleven releases, on a machine that may have other work.
    made.good("site.yml", patience=1500)
    return made
