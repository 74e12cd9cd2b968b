"""A host with apps that ask for everything the web server does with visitors; two of them share a domain."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import testinfra
from deploying import HERE, Repository, Stack
from testinfra.host import Host


@pytest.fixture(scope="module")
def machine() -> Host:
    inventory = os.environ["MOLECULE_INVENTORY_FILE"]
    name = os.environ["MOLECULE_SCENARIO_NAME"]
    return testinfra.get_hosts([f"ansible://{name}-*"], ansible_inventory=inventory)[0]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("controller")


@pytest.fixture(scope="module")
def code(machine: Host, directory: Path) -> Repository:
    repository = Repository(machine, "visited", HERE / "apps" / "visited", directory)
    for number in range(3):
        repository.version(f"v{number}")
    repository.push()
    return repository


def app(name: str, code: Repository, **settings: Any) -> dict[str, Any]:
    return {
        "name": name,
        "domains": [f"{name}.localhost"],
        "source": {"git": code.url, "version": "v0"},
        "wsgi": "app:application",
        "web": {"processes": 1, "threads": 4},
        "health": {"path": "/healthz", "timeout": 30},
        **settings,
    }


def password_hash(password: str) -> str:
    command = ["openssl", "passwd", "-6", "-salt", "tests", password]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest, machine: Host, directory: Path, code: Repository) -> Stack:
    site = ["site.localhost"]
    apps = [
        # All that one app may have at a time.
        app(
            "site",
            code,
            domains=site,
            redirects={"/old": "/new", "/away": "https://example.com/there 302"},
            headers={
                "X-Frame-Options": None,
                "Referrer-Policy": "no-referrer",
                "Permissions-Policy": 'camera=(), geolocation=(self "https://example.com")',
            },
            static={"/static/": "static", "/media/": "media"},
            static_max_age=7200,
            persistent=["media", "invoices"],
            private={"/protected/": "invoices"},
            error_pages={"404": "web/404.html", "503": "web/503.html"},
            maintenance={"allow": ["192.0.2.0/24"], "retry_after": 120},
        ),
        app(
            "site-shop",
            code,
            domains=site,
            path="/shop/",
            static={"/static/": "static", "/one.css": "static/style.css"},
            private={"/protected/": "static"},
        ),
        app("site-gun", code, domains=site, path="/shop/gun/", server="gunicorn"),
        app("limited", code, rate_limit={"requests": "1/m", "burst": 3, "connections": 2}),
        app("walled", code, users={"alice": "ALICE"}, static={"/static/": "static"}),
        app("networks", code, allow=["10.0.0.0/8", "192.0.2.7"], deny=["10.6.0.0/16"]),
        app("cached", code, cache={"seconds": 600, "size": "8m"}),
        app("cached-gun", code, cache={"seconds": 600}, server="gunicorn"),
        app("strict", code, error_pages={"404": "web/404.html"}, intercept_errors=True),
    ]
    secrets = {"walled": {"ALICE": password_hash(request.module.PASSWORD)}}
    # The test client is a proxy that says for whom it asks.
    variables = {"nginx_brotli": True, "nginx_trusted_proxies": ["127.0.0.1"]}
    made = Stack(
        machine, Path(os.environ["MOLECULE_INVENTORY_FILE"]), directory, apps, secrets, variables=variables
    )
    made.good("site.yml")
    return made
