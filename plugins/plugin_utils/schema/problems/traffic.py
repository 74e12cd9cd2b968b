"""What is wrong between the traffic features of one app; a part of `problems`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ....module_utils.values.texts import Rule
from ..faults import Fault, member, shown
from ..rules import visitors
from ..rules.paths import static_url


def faults(app: Mapping[str, Any], where: str) -> Iterator[Fault]:
    yield from _network_faults(app, where)
    yield from _url_faults(app, where)
    yield from _header_faults(app, where)
    if app.get("default_site") is True and path_of(app) != "/":
        reason = f"the default site answers at every path, and this app lies at {shown(path_of(app))}"
        yield Fault(f"{where}.default_site", reason, "set it for the app at / of these domains")
    limit = app.get("rate_limit")
    if isinstance(limit, Mapping) and limit.get("burst") is not None and limit.get("requests") is None:
        reason = "`burst` has no effect without `requests`"
        yield Fault(f"{where}.rate_limit.burst", reason, "requests: 10/s    # or remove burst")
    cache = app.get("cache")
    if isinstance(cache, Mapping) and cache.get("seconds") is None and cache.get("size") is not None:
        yield Fault(
            f"{where}.cache", "nothing is cached without `seconds`", "seconds: 10    # or remove cache"
        )
    if app.get("cache") and app.get("users"):
        reason = "requests with a password are never answered from the cache, and with `users` every request has one"
        yield Fault(f"{where}.cache", reason, "remove cache, or users")
    if app.get("intercept_errors") is True and not app.get("error_pages"):
        reason = "there are no `error_pages` to replace the app's answers with"
        yield Fault(f"{where}.intercept_errors", reason, 'error_pages: {"404": web/404.html}')


def _texts(values: Any, check: Rule) -> list[tuple[int, str]]:
    if not isinstance(values, list | tuple):
        return []
    return [(index, one) for index, one in enumerate(values) if isinstance(one, str) and not check(one)]


def _network_faults(app: Mapping[str, Any], where: str) -> Iterator[Fault]:
    """One network cannot be let in and refused: of two that are equal none is more specific."""
    allowed = {ipaddress.ip_network(one) for _, one in _texts(app.get("allow"), visitors.network)}
    for index, one in _texts(app.get("deny"), visitors.network):
        if ipaddress.ip_network(one) in allowed:
            yield Fault(f"{where}.deny[{index}]", f"{one} is in `allow`, too", "remove it from one of them")


def urls(app: Mapping[str, Any]) -> dict[str, str]:
    """Every URL below the app's path that nginx answers itself, with the key that says so."""
    found = {}
    for name, check in (
        ("static", static_url),
        ("private", visitors.files_url),
        ("redirects", visitors.redirect_source),
    ):
        values = app.get(name)
        for url in values if isinstance(values, Mapping) else ():
            if isinstance(url, str) and not check(url):
                found[f"{name}{member(url)}"] = url
    return found


def _url_faults(app: Mapping[str, Any], where: str) -> Iterator[Fault]:
    known = urls(app)
    for place, url in known.items():
        for other_place, other in known.items():
            if place.startswith("redirects") and url == other and place != other_place:
                reason = f"{other_place} has the same URL"
                yield Fault(f"{where}.{place}", reason, "remove one of the two")
            elif place.startswith("private") and place != other_place and _overlap(url, other):
                reason = f"it overlaps with {other_place}, so one URL would have two meanings"
                yield Fault(f"{where}.{place}", reason, "choose another URL for one of them")
    health = app.get("health")
    path = health.get("path") if isinstance(health, Mapping) else None
    path = path.partition("?")[0] if isinstance(path, str) else "/"
    for place, url in known.items():
        if place.startswith("redirects") and url == path:
            reason = f"this is the health path {shown(path)}, so the app would never be asked"
            yield Fault(
                f"{where}.{place}", reason, "health: {path: /healthz}    # a URL that the app answers"
            )
        if place.startswith("private") and path.startswith(url):
            yield Fault(
                f"{where}.{place}",
                f"the health path {shown(path)} is below it, so the app would never be asked",
                "health: {path: /healthz}    # a URL that the app answers",
            )


def _overlap(one: str, other: str) -> bool:
    """Whether a URL of one of the two is a URL of the other."""
    return (
        one == other
        or (one.endswith("/") and other.startswith(one))
        or (other.endswith("/") and one.startswith(other))
    )


def _header_faults(app: Mapping[str, Any], where: str) -> Iterator[Fault]:
    values = app.get("headers")
    seen: dict[str, str] = {}
    for name in values if isinstance(values, Mapping) else ():
        if (
            isinstance(name, str)
            and not visitors.header_name(name)
            and seen.setdefault(name.lower(), name) != name
        ):
            reason = f"{seen[name.lower()]} is the same header: case makes no difference"
            yield Fault(f"{where}.headers{member(name)}", reason, "remove one of the two")


# apps that share their domains


def path_of(app: Mapping[str, Any]) -> str:
    path = app.get("path") or "/"
    return path if isinstance(path, str) and not visitors.mount_path(path) else "/"


def sharing_faults(
    app: Mapping[str, Any], where: str, other: Mapping[str, Any], other_where: str
) -> Iterator[Fault]:
    """Whether *app* can be beside *other*, with which it has a domain in common, and no path."""
    for name, what in (("domains", "domains"), ("tls", "settings of TLS")):
        if (app.get(name) or None) != (other.get(name) or None):
            reason = (
                f"{other_where} has the same domain and other {what}: apps that share a domain form one site, "
                f"and their {what} must be identical, in the same order"
            )
            yield Fault(
                f"{where}.{name}",
                reason,
                f"make {name} identical in both apps, or give one a separate domain",
            )
    for one, place, below in ((app, where, other), (other, other_where, app)):
        yield from _taken(one, place, below)


def _taken(app: Mapping[str, Any], where: str, other: Mapping[str, Any]) -> Iterator[Fault]:
    """What nginx answers itself for *app*, where *other* answers."""
    path, own = path_of(other), path_of(app)
    if not path.startswith(own):
        return
    for place, url in urls(app).items():
        if _overlap(f"{own.rstrip('/')}{url}", path) or f"{own.rstrip('/')}{url}" == path.rstrip("/"):
            yield Fault(
                f"{where}.{place}",
                f"the app {shown(str(other.get('name')))} answers at {path} of the same domain",
                "choose a URL that is not below the other app's path",
            )


def hosts_fault(where: str, other_where: str) -> Fault:
    return Fault(
        where,
        f"it shares its domains with {other_where}, which is on other hosts: on some hosts one of the two would be missing",
        "put both apps into the python_apps of the same hosts",
    )


def secret_names(app: Mapping[str, Any]) -> Iterable[str]:
    """The secrets that hold the users' hashes."""
    users = app.get("users")
    return [key for key in users.values() if isinstance(key, str)] if isinstance(users, Mapping) else []
