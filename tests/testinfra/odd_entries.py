"""Entries of apps at the borders of what the check lets through: one that nginx refuses would stop the host."""

from __future__ import annotations

import random
from typing import Any

from ansible_collections.emperor.stack.plugins.plugin_utils.schema.rules import paths

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
    {"domains": ["wild.example.com", "www.wild.example.com", "*.wild.example.com", "*.a.wild.example.com"]},
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
