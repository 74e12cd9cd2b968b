"""From a declared app to what the roles need: defaults merged in once, all else derived by pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from . import layout
from .app_schema import APP, DEFAULT_REQUEST_TIMEOUT

App = Mapping[str, Any]


def complete(app: App) -> dict[str, Any]:
    """*app*, which passed the check, with every key of the schema and all that is derived. Idempotent."""
    completed = APP.complete(app)
    persistent = completed["persistent"]
    static = [
        {
            "url": url,
            "path": path,
            "directory": url.endswith("/"),
            "persistent": any(_inside(path, kept) for kept in persistent),
        }
        for url, path in sorted(completed["static"].items())
    ]
    return {
        **completed,
        "timeouts": timeouts(completed["limits"]["request_timeout"]),
        "static_files": static,
        "persistent_directories": [
            {"path": kept, "served": any(_inside(path, kept) for path in completed["static"].values())}
            for kept in persistent
        ],
    }


def complete_all(apps: Iterable[App] | None) -> list[dict[str, Any]]:
    return [complete(app) for app in apps or ()]


def _inside(path: str, directory: str) -> bool:
    return f"{path}/".startswith(f"{directory}/")


def timeouts(request_timeout: int) -> dict[str, int]:
    """Who waits how long, in seconds.

    Each outlasts the one before it: the innermost gives up first, and the others see its answer instead of
    cutting it off.
    """
    return {
        "harakiri": request_timeout,
        "nginx_read": request_timeout + 5,
        "worker_reload_mercy": request_timeout + 5,
        "reload_mercy": request_timeout + 20,
        "curse_tolerance": request_timeout + 30,
        "stop": request_timeout + 40,
    }


def longest_request_timeout(apps: Iterable[App] | None) -> int:
    """What an emperor has to grant its apps."""
    return max(
        (app["limits"]["request_timeout"] for app in complete_all(apps)), default=DEFAULT_REQUEST_TIMEOUT
    )


def nginx_sites(apps: Iterable[App] | None) -> list[dict[str, Any]]:
    """What role nginx takes as `nginx_sites`."""
    return [
        {
            "name": app["name"],
            "domains": app["domains"],
            "socket": layout.active_socket(app["name"]),
            "public": layout.active_public(app["name"]),
            "static": [
                {key: item[key] for key in ("url", "directory", "persistent")} for item in app["static_files"]
            ],
            "body": app["limits"]["body"],
            "read_timeout": app["timeouts"]["nginx_read"],
            **({"tls": _site_tls(app)} if app["tls"]["provider"] != "none" else {}),
        }
        for app in complete_all(apps)
    ]


def _site_tls(app: App) -> dict[str, Any]:
    tls = app["tls"]
    return {
        "certificate": layout.certificate(app["name"]),
        "key": layout.certificate_key(app["name"]),
        "challenges": layout.CHALLENGES if tls["provider"] == "acme" else "",
        "redirect": tls["redirect"],
        "hsts": hsts(tls["hsts"]),
    }


def hsts(declared: Mapping[str, Any]) -> str:
    """The value of Strict-Transport-Security, or nothing."""
    if declared["max_age"] is None:
        return ""
    parts = [f"max-age={declared['max_age']}"]
    parts += ["includeSubDomains"] if declared["subdomains"] else []
    parts += ["preload"] if declared["preload"] else []
    return "; ".join(parts)


def tls_apps(apps: Iterable[App] | None) -> list[dict[str, Any]]:
    """What role tls takes as `tls_apps`."""
    return [
        {
            "name": app["name"],
            "domains": app["domains"],
            **{
                key: app["tls"][key] for key in ("provider", "files", "challenge", "dns_provider", "redirect")
            },
        }
        for app in complete_all(apps)
        if app["tls"]["provider"] != "none"
    ]


def app_users(apps: Iterable[App] | None) -> list[dict[str, Any]]:
    """Accounts to create, each with the directories that outlive releases."""
    return [{"name": app["name"], "persistent": app["persistent_directories"]} for app in complete_all(apps)]
