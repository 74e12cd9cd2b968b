"""Whatever the check of an entry lets through, role nginx and nginx itself take too: one odd entry would stop the host."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.schema import apps
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.problems.found import Controller, HostApps
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.problems.inventory import problems
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.rules import domains, paths

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

#: Each alone has stopped a host, or might.
KNOWN: list[dict[str, Any]] = [
    {"static": {"/.well-known/security.txt": "security.txt"}},
    {"static": {"/.well-known/": "well-known"}},
    {"static": {"/a+b@c~d/": "x", "/@x": "x", "/+": "x", "/~": "x", "/...": "x", "/.x/..y/": "y"}},
    {"static": {"/static/": ["theme", "web"]}},
    {"domains": [".".join(["a" * 38] * 4)]},
    {"domains": [".".join(["b" * 63] * 3 + ["c" * 61])]},
    {"domains": ["xn--strae-oqa.de", "www.xn--strae-oqa.de"]},
    {"default_site": True},
    {"nginx": {"app": "uwsgi_buffering off;"}},
    {
        "nginx": {
            "app": "uwsgi_read_timeout 1h; uwsgi_send_timeout 1h; uwsgi_request_buffering off; uwsgi_buffers 16 32k;"
        }
    },
    {"nginx": {"server": "client_max_body_size 1g;"}},
    {
        "rate_limit": {"requests": "10/s", "connections": 5},
        "nginx": {"app": "limit_req_status 503; limit_conn_status 503;"},
    },
    {
        "error_pages": {"404": "web/404.html"},
        "intercept_errors": True,
        "nginx": {"app": "uwsgi_intercept_errors off;"},
    },
    {"headers": {"X-Odd": "a'b; }{ #", "Permissions-Policy": None}},
    {"redirects": {"/old": "/new?a=1#b", "/a": "https://example.com/ 302"}},
    {"private": {"/.hidden/": "x"}},
]


def odd(chance: random.Random) -> dict[str, Any]:
    """URLs of every length and letter that the rule has."""
    letters = "abcXYZ019._~@+-"
    found = {}
    while len(found) < 5:
        url = "/" + "/".join(
            "".join(chance.choices(letters, k=chance.randint(1, 12))) for _ in range(chance.randint(1, 3))
        )
        if not paths.static_url(url) and not any(
            url.startswith(f"{one}/") or one.startswith(f"{url}/") for one in found
        ):
            found[url] = "x"
    return {"static": {f"{url}/" if chance.random() < 0.5 else url: path for url, path in found.items()}}


def entries() -> list[dict[str, Any]]:
    chance = random.Random(7)
    made = [*KNOWN, *(odd(chance) for _ in range(30))]
    return [
        {
            "name": f"odd-{number}",
            "domains": [f"odd-{number}.example.com"],
            "source": {"git": "https://git.example.com/x.git", "version": "v1"},
            "wsgi": "x:y",
            **entry,
        }
        for number, entry in enumerate(made)
    ]


def test_what_the_check_lets_through_the_role_takes() -> None:
    controller = Controller("/bundle", lambda path: True, lambda path: True)
    assert [str(one) for one in problems({"web1": HostApps(entries())}, controller)] == []
    assert apps.site_problems(apps.sites(entries())) == []


def test_the_domains_are_accepted() -> None:
    for entry in entries():
        assert [domains.domain(one) for one in entry["domains"]] == [None] * len(entry["domains"])


@pytest.mark.skipif(not NGINX, reason="nginx is not installed")
@pytest.mark.parametrize("debian", ["12", "13"])
def test_nginx_takes_it(tree: Callable[..., Path], debian: str) -> None:
    path = tree(
        nginx_sites=apps.sites(entries()),
        nginx_users=[],
        ansible_facts={"distribution": "Debian", "distribution_major_version": debian},
    )
    top = path.parents[2]
    for file in filter(Path.is_file, path.parent.rglob("*")):
        text = file.read_text()
        for place in ("/var/log/nginx", "/run/nginx.pid", "/var/lib/nginx"):
            text = text.replace(place, f"{top}{place}")
        file.write_text(text.replace("user www-data;", ""))
    temporary = (f"{one}_temp_path {top};" for one in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    path.write_text(path.read_text().replace("http {", f"http {{ {' '.join(temporary)}", 1))
    for place in ("var/log/nginx", "run", "var/lib/nginx"):
        (top / place).mkdir(parents=True, exist_ok=True)
    command = [str(NGINX), "-t", "-q", "-e", "stderr", "-p", str(top), "-c", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
