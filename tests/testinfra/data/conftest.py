"""Two hosts with apps, of which the first has the databases of both, and their controller."""

from __future__ import annotations

from pathlib import Path

import pytest
from authority import host_named
from databases import PASSWORD, QUEUE, Controller, app
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
            ],
            client.backend.host: [app("my-shop", workers=worker), app("mail-queue", **queue)],
        },
    )
    address = made.addresses[server.backend.host]
    made.variables = {
        "backup_repository": f"rest:http://{address}:8000/fleet",
        "backup_password": PASSWORD,
        # Never by itself: the tests say when.
        "backup_at": "2099-01-01 02:00:00",
        "hardening_firewall_allow": [{"port": 8000}],
    }
    server.check_output("DEBIAN_FRONTEND=noninteractive apt-get install -y -qq restic-rest-server")
    server.check_output(
        "systemd-run --unit=rest-server restic-rest-server --no-auth --path /srv/backups --listen %s",
        f"{address}:8000",
    )
    # Five releases, on a machine that may have other work.
    made.good("site.yml", patience=1500)
    return made
