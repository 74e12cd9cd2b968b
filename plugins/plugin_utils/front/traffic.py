"""What a web server is told of an app's visitors, derived from a completed app. Pure.

Each variable of nginx that is made for an app begins with `app_` and the app's name, in which a hyphen becomes an
underscore: no name has one, so two apps never share a variable, and none of nginx's or of the bundle's own begins so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ...module_utils.host import layout

App = Mapping[str, Any]

#: Security headers that every answer has in which the app has not set its own, by nginx's variables for them.
HEADERS = {
    "X-Content-Type-Options": "$front_content_type_options",
    "X-Frame-Options": "$front_frame_options",
    "Referrer-Policy": "$front_referrer_policy",
}

#: The server's own pages, for statuses that it gives itself.
PAGES = {
    "502": "/emperor-stack-unavailable.html",
    "503": "/emperor-stack-maintenance.html",
    "504": "/emperor-stack-unavailable.html",
}

#: Where a release has its error pages, below its public files.
RELEASE_PAGES = "/emperor-stack-pages"


def prefix(app: App) -> str:
    """What stands before every URL of the app: nothing, or `/shop`."""
    return str(app["path"]).rstrip("/")


def published(app: App) -> list[dict[str, Any]]:
    """What a release copies or links for the web server beside `static`, in the form of `static_files`."""
    private = [
        {"url": url, "path": path, "directory": True, "kind": "private"}
        for url, path in sorted(app["private"].items())
    ]
    pages = [
        {"url": f"{RELEASE_PAGES}/{status}.html", "path": path, "directory": False, "kind": "page"}
        for status, path in sorted(app["error_pages"].items())
    ]
    return private + pages


def of_app(app: App) -> dict[str, Any]:
    """The traffic features of a completed app, as the templates take them."""
    name = f"app_{app['name'].replace('-', '_')}"
    limit, cache = app["rate_limit"], app["cache"]
    return {
        "variable": name,
        "prefix": prefix(app),
        "pattern": re.escape(prefix(app)),
        "health": prefix(app) + app["health"]["path"],
        "redirects": [_redirect(source, target, app) for source, target in sorted(app["redirects"].items())],
        "networks": networks(app["allow"], app["deny"]),
        "users": bool(app["users"]),
        "requests": _rate(limit["requests"]),
        "burst": limit["burst"],
        "connections": limit["connections"] or 0,
        "cache_seconds": cache["seconds"] or 0,
        "cache_size": cache["size"],
        "cache": layout.front_cache(app["name"]),
        "headers": headers(app, name),
        "static_max_age": app["static_max_age"],
        "private": [
            {key: item[key] for key in ("url", "persistent")}
            for item in app["static_files"]
            if item["kind"] == "private"
        ],
        "pages": pages(app),
        "intercept_errors": app["intercept_errors"],
        "maintenance": layout.maintenance(app["name"]),
        "maintenance_networks": [(network, 0) for network in app["maintenance"]["allow"]],
        "retry_after": app["maintenance"]["retry_after"],
    }


def _redirect(source: str, target: str, app: App) -> dict[str, Any]:
    place, _, status = target.partition(" ")
    if place.startswith("/"):
        place = f"{prefix(app)}{place}"
    place, hash_sign, fragment = place.partition("#")
    return {
        "source": f"{prefix(app)}{source}",
        "target": place,
        "fragment": f"{hash_sign}{fragment}",
        "here": place.startswith("/"),
        "query": "?" not in place,
        "status": status or "301",
    }


def _rate(requests: str | None) -> str:
    """As nginx writes it: `10r/s`."""
    return requests.replace("/", "r/") if requests else ""


def networks(allow: Iterable[str], deny: Iterable[str]) -> list[tuple[str, int]]:
    """Each network with 1 where it is refused; `default` first. nginx takes the most specific one that fits."""
    allow, deny = list(allow), list(deny)
    if not allow and not deny:
        return []
    return [("default", int(bool(allow))), *((one, 0) for one in allow), *((one, 1) for one in deny)]


def headers(app: App, variable: str) -> list[dict[str, str]]:
    """All security headers of an app that has some of its own; nothing where the defaults hold.

    `value` is what to send where the app has not said it itself, as `upstream` tells; without it `variable` is there
    already.
    """
    own = {name.lower(): (name, value) for name, value in app["headers"].items()}
    if not own:
        return []
    kept = [
        {"name": name, "variable": default, "value": "", "upstream": ""}
        for name, default in HEADERS.items()
        if name.lower() not in own
    ]
    made = [
        {
            "name": name,
            "variable": f"${variable}_header_{lower.replace('-', '_')}",
            "value": value,
            "upstream": f"$upstream_http_{lower.replace('-', '_')}",
        }
        for lower, (name, value) in sorted(own.items())
        if value is not None
    ]
    return kept + made


def pages(app: App) -> list[dict[str, Any]]:
    """Each status with the URL of its page, and the file of the release that is shown, or of the server."""
    own = app["error_pages"]
    return [
        {
            "status": status,
            "url": f"{prefix(app)}/emperor-stack-{status}.html",
            "file": f"{RELEASE_PAGES}/{status}.html" if status in own else PAGES[status],
            "of_release": status in own,
        }
        for status in sorted({*PAGES, *own})
    ]


def shared_sites(apps: Iterable[App]) -> list[list[App]]:
    """Apps by the domains that they share, the shortest path first: that one names the site and has its certificate."""
    groups: dict[str, list[App]] = {}
    for app in apps:
        groups.setdefault(app["domains"][0], []).append(app)
    return [sorted(group, key=lambda app: (app["path"], app["name"])) for group in groups.values()]


def site_users(apps: Iterable[App], secrets: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lines of each app's file of users, names and hashes, and the site that it is for. Sensitive."""
    return [
        {
            "name": app["name"],
            "site": group[0]["name"],
            "lines": [f"{user}:{secrets[app['name']][key]}" for user, key in sorted(app["users"].items())],
        }
        for group in shared_sites(apps)
        for app in group
        if app["users"]
    ]


#: What only nginx does. Apache's role refuses it.
_NGINX_ONLY = {
    "path": "/",
    "default_site": False,
    "redirects": {},
    "headers": {},
    "allow": [],
    "deny": [],
    "users": {},
    "private": {},
    "error_pages": {},
    "intercept_errors": False,
    "static_max_age": 300,
}


def without_apache(apps: Iterable[App]) -> list[str]:
    """Each key of an app that Apache does not do, as `shop: users`."""
    found = []
    for app in apps:
        names = [name for name, default in _NGINX_ONLY.items() if app[name] != default]
        names += ["asgi"] if app["asgi"] else []
        # Apache takes the first site that matches, so that a wildcard would take names of other sites.
        names += [f"domains ({name})" for name in app["domains"] if name.startswith("*.")]
        names += ["rate_limit"] if app["rate_limit"]["requests"] or app["rate_limit"]["connections"] else []
        names += ["cache"] if app["cache"]["seconds"] else []
        names += ["maintenance.allow"] if app["maintenance"]["allow"] else []
        names += ["nginx"] if any(text is not None for text in app["nginx"].values()) else []
        found += [f"{app['name']}: {name}" for name in names]
    return found
