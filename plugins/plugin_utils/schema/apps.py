"""From a declared app to what the roles need: defaults merged in once, all else derived by pure functions."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...module_utils.host import layout
from ..front import traffic
from . import kinds as schema
from .fields.app import APP
from .fields.data import REDIS_VARIABLES
from .fields.serving import DEFAULT_REQUEST_TIMEOUT
from .fields.visitors import FRONT_ONLY
from .rules import nginx_syntax
from .rules.domains import WILDCARD

App = Mapping[str, Any]


def complete(app: App) -> dict[str, Any]:
    """*app*, which passed the check, with every key of the schema and all that is derived. Idempotent."""
    completed = APP.complete(app)
    # Only apps that are to be there are completed.
    completed.pop("state")
    completed["connections"] = [
        *(["DATABASE_URL"] if any(completed["database"].values()) else []),
        *(REDIS_VARIABLES if completed["redis"] else []),
    ]
    if completed["asgi"]:
        # The only one for it; the check has refused any other.
        completed["server"] = "gunicorn"
    persistent = completed["persistent"]
    static = [
        {"url": url, "path": path, "directory": url.endswith("/"), "kind": "static"}
        for url, paths in sorted(completed["static"].items())
        # What is published later replaces files of the same name, and the first directory is to win.
        for path in reversed([paths] if isinstance(paths, str) else paths)
    ] + traffic.published(completed)
    static = [
        {**item, "persistent": any(_inside(item["path"], kept) for kept in persistent)} for item in static
    ]
    return {
        **completed,
        "timeouts": timeouts(completed["limits"]["request_timeout"]),
        # What the web server speaks to the app.
        "protocol": "http" if completed["asgi"] else "uwsgi",
        "static_files": static,
        "persistent_directories": [
            {
                "path": kept,
                "served": any(_inside(item["path"], kept) for item in static),
                **(
                    {"private": True}
                    if any(_inside(item["path"], kept) for item in static if item["kind"] == "private")
                    else {}
                ),
            }
            for kept in persistent
        ]
        + [{"path": kept, "served": False} for kept in completed["persistent_files"]],
    }


#: Keys of an app of which its releases have nothing: what only the front, the accounts or this run are told. A Python is
#: in the manifest, and `secrets` and `files` are told by their contents.
NOT_OF_RELEASE = (
    "state",
    "renamed_from",
    "migrate_on",
    "fleet",
    "python",
    "secrets",
    "files",
    "tls",
    "nginx",
    "deploy_keys",
    *FRONT_ONLY,
)


def chosen_of_release(app: App) -> dict[str, Any]:
    """What somebody chose of *app*, completed or not, for its releases: without what equals a default, at every depth."""
    chosen: dict[str, Any] = schema.chosen(APP, APP.complete(app))
    if chosen.get("asgi"):
        # There is no other, said or not.
        chosen.pop("server", None)
    # It is held by the kernel, for what is there already too.
    limits = {name: value for name, value in chosen.pop("limits", {}).items() if name != "disk"}
    kept = {name: value for name, value in chosen.items() if name not in NOT_OF_RELEASE}
    return {**kept, "limits": limits} if limits else kept


def is_present(app: App) -> bool:
    return app.get("state") != "absent"


def complete_all(apps: Iterable[App] | None) -> list[dict[str, Any]]:
    """All of *apps* that are to be there."""
    return [complete(app) for app in apps or () if is_present(app)]


def absent_apps(apps: Iterable[App] | None) -> list[dict[str, str]]:
    """What module app_removal takes as `apps`: those that are to go."""
    return [{"name": app["name"]} for app in apps or () if not is_present(app)]


def renamed_apps(apps: Iterable[App] | None) -> list[dict[str, str]]:
    """The same for those that others took over; each goes when its successor is live."""
    return [
        {"name": app["renamed_from"], "successor": app["name"]}
        for app in apps or ()
        if is_present(app) and app.get("renamed_from")
    ]


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


def asgi_releases(apps: Iterable[App] | None) -> dict[str, str]:
    """Of each app with `wsgi`, what the host is asked for: patterns of files that only ASGI releases have."""
    return {
        app["name"]: f"{layout.releases(app['name'])}/*/asgi.py"
        for app in apps or ()
        if is_present(app) and not app.get("asgi")
    }


def sites(
    apps: Iterable[App] | None, tls: bool = True, present: Iterable[str] | None = None
) -> list[dict[str, Any]]:
    """What the roles of web servers take: nginx as `nginx_sites`, apache as `apache_sites`.

    Apps that share their domains are one site; all but the first are its `mounts`. Without *tls* they are plain HTTP, as
    behind balancers. *present* are those of `asgi_releases` that the host has: such an app may be live in an ASGI release,
    or go back to one.
    """
    patterns, there = asgi_releases(apps), set(present or ())
    both = {name for name, pattern in patterns.items() if pattern in there}
    completed = [{**app, "protocol": "http"} if app["name"] in both else app for app in complete_all(apps)]
    return [
        {
            **_site(first, first["name"]),
            # Those after the first redirect to it; the app itself answers for the names of a wildcard.
            "domains": [name for name in first["domains"] if not name.startswith(WILDCARD)],
            "wildcards": [name for name in first["domains"] if name.startswith(WILDCARD)],
            "default": first["default_site"],
            "own_server": _directives(app["nginx"]["server"] for app in (first, *others)),
            **({"tls": _site_tls(first)} if tls and first["tls"]["provider"] != "none" else {}),
            "mounts": [_site(app, first["name"]) for app in others],
        }
        for first, *others in traffic.shared_sites(completed)
    ]


def _directives(texts: Iterable[str | None]) -> list[str]:
    """The names of the directives in *texts*, without those in blocks."""
    found: set[str] = set()
    for text in texts:
        depth = 0
        with contextlib.suppress(nginx_syntax.Broken):
            for directive in nginx_syntax.directives(text or ""):
                found |= set(directive.words[:1]) if depth == 0 else set()
                depth += {"{": 1, "}": -1}.get(directive.end, 0)
    return sorted(found)


def _site(app: App, site: str) -> dict[str, Any]:
    """What one app has in the site of name *site*."""
    return {
        "name": app["name"],
        "path": app["path"],
        "snippets": [
            {"app": app["name"], "site": site, "place": place, "text": text}
            for place, text in app["nginx"].items()
            if text is not None
        ],
        # What the app's own directives set: the template leaves its own ones out, which nginx would take for duplicates.
        "own": _directives([app["nginx"]["app"]]),
        "socket": layout.active_socket(app["name"]),
        "public": layout.active_public(app["name"]),
        "static": list(
            {
                item["url"]: {
                    **{key: item[key] for key in ("url", "directory", "persistent")},
                    "kept": item["path"] if item["persistent"] and item["directory"] else "",
                }
                for item in app["static_files"]
                if item["kind"] == "static"
            }.values()
        ),
        "body": app["limits"]["body"],
        "protocol": app["protocol"],
        "read_timeout": _read_timeout(app),
        "traffic": traffic.of_app(app),
    }


def _read_timeout(app: App) -> int:
    """How long a web server waits for the next bytes. An ASGI app's own time limits are shorter: those of asgi.py."""
    if app["protocol"] == "uwsgi":
        return int(app["timeouts"]["nginx_read"])
    limits = app["limits"]
    return int(max(limits["connection_idle"], limits["request_timeout"]) + 30)


def site_users(apps: Iterable[App] | None, secrets: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """What role nginx takes as `nginx_users`: it has password hashes in it."""
    return traffic.site_users(complete_all(apps), secrets or {})


def without_apache(apps: Iterable[App] | None) -> list[str]:
    """What the apps ask of the web server that Apache does not do."""
    return traffic.without_apache(complete_all(apps))


#: How each value of a site is written. Whatever could end a directive or a file name, or means something else there, is not.
_PLAIN_PATH = r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+"
#: What `static_url` of rules/paths.py lets through.
_FILE_URL = r"(/(?!\.(\.|git)?(/|$))[A-Za-z0-9._~@+-]+)+"
_SITE_VALUES = {
    "name": r"[a-z][a-z0-9-]*",
    "domains": r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?",
    "wildcards": r"\*\.[a-z0-9]([a-z0-9.-]*[a-z0-9])?",
    "socket": _PLAIN_PATH,
    "public": _PLAIN_PATH,
    "body": r"[0-9]+[kmgKMG]?",
}
_TLS_VALUES = {
    "certificate": _PLAIN_PATH,
    "key": _PLAIN_PATH,
    "challenges": f"({_PLAIN_PATH})?",
    "hsts": r"(max-age=[0-9]+(; includeSubDomains)?(; preload)?)?",
}


def site_problems(sites: Iterable[Mapping[str, Any]]) -> list[str]:
    """What a web server's configuration could not hold, and names and domains that are there twice."""
    found: list[str] = []
    seen: set[tuple[str, str]] = set()
    for site in sites:
        apps = [site, *site["mounts"]]
        values = [
            *(("name", app["name"]) for app in apps),
            *(("domains", domain) for domain in site["domains"]),
            *(("wildcards", domain) for domain in site.get("wildcards", ())),
        ]
        for place in values:
            if place in seen:
                found.append(f"{place[0]}: {place[1]!r} is there twice")
            seen.add(place)
        values += [(key, app[key]) for app in apps for key in ("socket", "public", "body")]
        rules = [(key, value, _SITE_VALUES[key]) for key, value in values]
        rules += [
            ("url", item["url"], _FILE_URL + "/" * item["directory"])
            for app in apps
            for item in app["static"]
        ]
        rules += [(key, site["tls"][key], rule) for key, rule in _TLS_VALUES.items() if "tls" in site]
        found += [
            f"{key}: {value!r} is invalid" for key, value, rule in rules if not re.fullmatch(rule, value)
        ]
    return found


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
    """What role tls takes as `tls_apps`: one certificate for each site."""
    return [
        {
            "name": app["name"],
            "domains": app["domains"],
            **{
                key: app["tls"][key] for key in ("provider", "files", "challenge", "dns_provider", "redirect")
            },
        }
        for app, *_ in traffic.shared_sites(complete_all(apps))
        if app["tls"]["provider"] != "none"
    ]


def app_users(apps: Iterable[App] | None) -> list[dict[str, Any]]:
    """Accounts to create, each with the directories that outlive releases, and what decides its size."""
    return [
        {
            "name": app["name"],
            "renamed_from": app["renamed_from"],
            "deploy_keys": app["deploy_keys"],
            "pushed": bool(app["deploy_keys"]) and app["source"].get("git") == layout.pushed_url(app["name"]),
            "persistent": [
                {"path": one["path"], "served": one["served"]} for one in app["persistent_directories"]
            ],
            "size": {key: app.get(key) for key in ("web", "limits", "on_demand", "workers")},
        }
        for app in complete_all(apps)
    ]


def app_slices(apps: Iterable[App] | None) -> list[dict[str, Any]]:
    """The slice of each app: its unit's name and its limits."""
    return [
        {"name": app["name"], "unit": layout.app_slice(app["name"]), "limits": app["limits"]}
        for app in complete_all(apps)
    ]


def unit_files(app: App) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The systemd units of a completed *app*: file name, template, and what the template gets beside the app."""
    name = app["name"]
    common = {
        "launch": " ".join(layout.launch("@RELEASE_DIRECTORY@")),
        "active": layout.active(name),
        "activations": layout.activations(name),
        "run": layout.RUN,
    }
    if app["server"] != "uwsgi":
        web = {"kind": "web", "stop_signal": "TERM", "stop_timeout": app["timeouts"]["reload_mercy"]}
        yield f"app_{name}_web@.service", "process.service.j2", {**common, **web, "process": "web"}
    for process, worker in app["workers"].items():
        its = {"kind": "worker", "process": process}
        its |= {key: worker[key] for key in ("stop_signal", "stop_timeout")}
        yield f"app_{name}_{process}@.service", "process.service.j2", {**common, **its}
    for process, job in app["schedule"].items():
        its = {"kind": "job", "process": process, "job": job}
        yield layout.release_unit(name, process, "service"), "process.service.j2", {**common, **its}
        yield layout.release_unit(name, process, "timer"), "process.timer.j2", its
