"""Entries of python_apps that together ask for all that a web server can be asked for."""

from __future__ import annotations

from typing import Any

APP: dict[str, Any] = {
    "name": "blog",
    "domains": ["blog.example.com", "www.blog.example.com"],
    "source": {"path": "examples/flask"},
    "wsgi": "wsgi:application",
    "static": {"/static/": "static", "/media/": "media", "/favicon.ico": "favicon.ico"},
    "persistent": ["media"],
}
SECURED: dict[str, Any] = {
    **APP,
    "name": "shop",
    "domains": ["shop.example.com"],
    "tls": {"provider": "acme", "hsts": {"max_age": 63072000}},
    "nginx": {"server": "location = /ping { return 204; }", "app": "uwsgi_buffering off;"},
}
#: All that an app can ask of nginx, below a path of the first one's domains.
BUSY: dict[str, Any] = {
    **APP,
    "name": "busy",
    "path": "/busy/",
    "redirects": {"/old": "/new", "/sale": "https://shop.example.com/ 302"},
    "allow": ["10.0.0.0/8"],
    "deny": ["203.0.113.0/24"],
    "users": {"alice": "ALICE_HASH"},
    "rate_limit": {"requests": "10/s", "connections": 50},
    "cache": {"seconds": 10},
    # One that is dropped by `null` would be found, and rightly so: it is what the app asked for.
    "headers": {"X-Frame-Options": "DENY", "Permissions-Policy": "camera=()"},
    "private": {"/protected/": "invoices"},
    "error_pages": {"503": "web/503.html"},
    "intercept_errors": True,
    "maintenance": {"allow": ["10.0.0.0/8"]},
}
