"""Everything that is wrong with `python_apps`, over the whole inventory at once.

Pure: what is on the controller's disk is asked through two functions. No message shows a secret.
"""

from __future__ import annotations

import datetime
import functools
import itertools
import json
import os.path
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from typing import Any

from ...module_utils.values import rules as rule
from . import traffic_problems, traffic_rules
from .apps import is_present
from .fields import ABSENT, APP, PER_HOST
from .kinds import Fault, Hidden, Section, Unresolved, closest, given, listed, member, shown, unresolved

APPS = "python_apps"
SECRETS = "vault_python_apps_secrets"

#: A shorter value is a common word, and hiding it would garble the messages.
SHORTEST_HIDDEN = 6


@dataclass(frozen=True)
class HostApps:
    """What one host's variables say, templates resolved."""

    apps: Any = ()
    secrets: Any = field(default_factory=dict)
    #: Names of all other variables of the host, in which a misspelt `python_apps` is looked for.
    variables: frozenset[str] = frozenset()
    #: What the connection goes to, to notice one machine under two names. Empty: not known.
    machine: str = ""


@dataclass(frozen=True)
class Problem:
    hosts: tuple[str, ...]
    where: str
    reason: str
    fix: str

    @property
    def place(self) -> str:
        more = len(self.hosts) - 3
        names = ", ".join(self.hosts[:3]) + (f" and {more} more" if more > 0 else "")
        return f"{'host' if len(self.hosts) == 1 else 'hosts'} {names}: {self.where}"

    def __str__(self) -> str:
        head, *more = self.fix.splitlines() or [""]
        if not more:
            return f"{self.place}\n  reason: {self.reason}\n  fix:    {head}"
        lines = "\n".join(f"    {line}" for line in (head, *more))
        return f"{self.place}\n  reason: {self.reason}\n  fix:\n{lines}"


@dataclass(frozen=True)
class Controller:
    """The controller's files, as far as the check asks about them."""

    root: str
    is_directory: Callable[[str], bool] = os.path.isdir
    is_file: Callable[[str], bool] = os.path.isfile

    def at(self, path: str) -> str:
        return os.path.normpath(os.path.join(self.root, path))


def problems(fleet: Mapping[str, HostApps], controller: Controller) -> list[Problem]:
    """All problems, in the order of hosts and apps; one that several hosts share is listed once."""
    found: dict[Fault, list[str]] = defaultdict(list)
    known = {label for host in fleet.values() for _, app in _entries(host.apps) if (label := _name(app))}
    checked: dict[str, list[Fault]] = {}
    for host, declared in fleet.items():
        for fault in _host_faults(declared, known, controller, checked):
            if host not in found[fault]:
                found[fault].append(host)
    listed = [Problem(tuple(hosts), fault.where, fault.reason, fault.fix) for fault, hosts in found.items()]
    listed += [*_shared_machines(fleet), *_name_clashes(fleet), *_domain_clashes(fleet)]
    return _without_secrets(listed, fleet)


def app_count(fleet: Mapping[str, HostApps]) -> int:
    return len({_name(app) for host in fleet.values() for _, app in _present(host.apps)})


# one host


def _host_faults(
    declared: HostApps, known: set[str], controller: Controller, checked: dict[str, list[Fault]]
) -> Iterator[Fault]:
    yield from _misspelt(declared)
    apps = declared.apps
    if isinstance(apps, Unresolved):
        yield unresolved(apps, APPS)
    elif not isinstance(apps, list | tuple) and apps is not None:
        yield Fault(APPS, f"this is {given(apps)}, but must be a list of apps", _smallest_app())
    for where, app in _entries(apps, everything=True):
        # Most hosts of a fleet share their apps by a group variable: each distinct entry is checked once.
        key = f"{where} {app!r}"
        if key not in checked:
            checked[key] = list(_app_faults(app, where, controller))
        if checked[key]:
            yield from _hiding(checked[key], app, where, _secret_forms([declared]))
    yield from _duplicates(apps)
    yield from _renaming_faults(apps)
    yield from _secret_faults(declared, known)


def _app_faults(app: Any, where: str, controller: Controller) -> Iterator[Fault]:
    yield from _schema(app).faults(app, where, "- ")
    if isinstance(app, Mapping) and is_present(app):
        for cross_rule in _CROSS_RULES:
            yield from cross_rule(app, where, controller)


def _schema(app: Any) -> Section:
    return APP if not isinstance(app, Mapping) or is_present(app) else ABSENT


def _hiding(faults: list[Fault], app: Any, where: str, secrets: list[str]) -> Iterator[Fault]:
    """*faults*, where those of a value with a secret in it tell nothing of it: a better text would be made of it."""
    masked = _masked(app, [secret.lower() for secret in secrets])
    hidden = {
        fault.where: fault
        for fault in _schema(app).faults(masked, where, "")
        if fault.reason == Hidden.reason
    }
    for fault in faults:
        yield hidden.get(fault.where, fault)


def _masked(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, str):
        return Hidden() if any(secret in value.lower() for secret in secrets) else value
    if isinstance(value, Mapping):
        return {key: _masked(item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(item, secrets) for item in value]
    return value


def _smallest_app() -> str:
    lines = [field.example for field in APP.fields if field.required] + ["wsgi: blog.wsgi:application"]
    return f"{APPS}:\n  - " + "\n    ".join(lines)


def _misspelt(declared: HostApps) -> Iterator[Fault]:
    for wanted in (APPS, SECRETS):
        if wanted not in declared.variables:
            for name in sorted(declared.variables):
                if _alike(name, wanted):
                    reason = f"there is a variable {name}, and none {wanted}"
                    yield Fault(name, reason, f"did you mean {wanted}?")


def _alike(name: str, wanted: str) -> bool:
    """python_app, pyhton_apps; neither python_apps_extra nor _python_apps, which others may use."""
    near = abs(len(name) - len(wanted)) <= 1 and not name.startswith("_")
    return near and SequenceMatcher(None, name, wanted).ratio() >= 0.85


def _duplicates(apps: Any) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for where, app in _entries(apps):
        name = _name(app)
        if name and first.setdefault(name, where) != where:
            yield Fault(
                f"{where}.name",
                f"{shown(name)} is already the name of {first[name]} on this host",
                "give one of the two another name, or remove it",
            )


def _renaming_faults(apps: Any) -> Iterator[Fault]:
    places = {_name(app): where for where, app in _entries(apps)}
    first: dict[str, str] = {}
    for where, app in _present(apps):
        old = _good(app.get("renamed_from"), rule.name)
        place = f"{where}.renamed_from"
        if old is None:
            continue
        if old == _name(app):
            yield Fault(
                place, "this is the current name of the app", "write its old name here, or remove the key"
            )
        elif old in places:
            reason = f"{places[old]} is still in the list, and would be removed once {_name(app) or 'this app'} is live"
            yield Fault(place, reason, f"remove {places[old]}, or remove renamed_from")
        elif first.setdefault(old, where) != where:
            reason = f"{first[old]} takes over {shown(old)} already"
            yield Fault(place, reason, "remove it from one of the two")


# rules between the fields of one app


def _source_faults(app: Mapping[str, Any], where: str, controller: Controller) -> Iterator[Fault]:
    source = app.get("source")
    if not isinstance(source, Mapping):
        return
    place = f"{where}.source"
    if source.get("git") is not None and source.get("version") is None:
        reason = "`version` is missing: name the tag, branch or commit to deploy"
        yield Fault(place, reason, "version: v1.4.0")
    kind = next((name for name in _SOURCES if source.get(name) is not None), "")
    if kind == "archive" and source.get("checksum") is None:
        reason = "`checksum` is missing: an archive is deployed only if its checksum matches"
        yield Fault(place, reason, "checksum: sha256:…    # what `sha256sum FILE` prints")
    for name, kinds in _BELONGS.items():
        # False is what `submodules` is anyway.
        if (
            kind
            and source.get(name) not in (None, False)
            and not any(source.get(one) is not None for one in kinds)
        ):
            reason = f"`{name}` applies to {listed(kinds)}, and has no effect with `{kind}`"
            yield Fault(f"{place}.{name}", reason, f"remove {name}")
    key, path = _good(source.get("key"), rule.key_path), _good(source.get("path"), rule.controller_path)
    if key and not controller.is_file(controller.at(key)):
        yield Fault(
            f"{place}.key",
            f"there is no file {controller.at(key)} on the controller",
            "create it there, or correct the path (a relative path starts at the root of this repository)",
        )
    archive = _good(source.get("archive"), rule.archive)
    if archive and "://" not in archive and not controller.is_file(controller.at(archive)):
        yield Fault(
            f"{place}.archive",
            f"there is no file {controller.at(archive)} on the controller",
            "put it there, or correct the path (a relative path starts at the root of this repository)",
        )
    if path:
        yield from _directory_faults(app, where, path, controller)
    if kind == "package":
        yield from _package_faults(app, where)


#: Where the code may come from, and what else belongs to which of them.
_SOURCES = ("git", "path", "archive", "package")
_BELONGS = {
    "version": ("git",),
    "key": ("git",),
    "known_hosts": ("git",),
    "submodules": ("git",),
    "checksum": ("archive",),
    "subdirectory": ("git", "path", "archive"),
}


def _package_faults(app: Mapping[str, Any], where: str) -> Iterator[Fault]:
    """The code of a package holds nothing but `files`."""
    files = _pairs(app.get("files"), rule.file_path, rule.controller_path)
    for name, file in _named_files(app).items():
        if file and file not in files:
            reason = f"the code of a package consists of `files` alone, and {shown(file)} is not one of them"
            yield Fault(f"{where}.{name}", reason, f"files: {{{file}: templates/{file}.j2}}")


def _named_files(app: Mapping[str, Any]) -> dict[str, str | None]:
    """The files that the app's other keys expect in the code."""
    return {
        "requirements": _good(app.get("requirements"), rule.file_path),
        "paste": (_good(app.get("paste"), rule.paste) or "").partition("#")[0],
    }


def _file_faults(app: Mapping[str, Any], where: str, controller: Controller) -> Iterator[Fault]:
    files = _pairs(app.get("files"), rule.file_path, rule.controller_path)
    for name, template in files.items():
        place = f"{where}.files{member(name)}"
        if not controller.is_file(controller.at(template)):
            yield Fault(
                place,
                f"there is no file {controller.at(template)} on the controller",
                "create it there, or correct the path (a relative path starts at the root of this repository)",
            )
        for index, kept in _items(app.get("persistent"), rule.relative_path):
            if _inside(name, kept):
                reason = f"it lies in the persistent directory {shown(kept)}, which outlives releases"
                yield Fault(place, reason, f"choose a path outside of it, or change persistent[{index}]")
        for other in files:
            if other != name and _inside(name, other):
                yield Fault(
                    place,
                    f"{shown(other)} is a file already, and cannot be a directory",
                    "rename one of them",
                )


def _directory_faults(
    app: Mapping[str, Any], where: str, path: str, controller: Controller
) -> Iterator[Fault]:
    code = controller.at(path)
    source = app["source"]
    subdirectory = _good(source.get("subdirectory"), rule.relative_path)
    if subdirectory and controller.is_directory(code):
        code = f"{code}/{subdirectory.removesuffix('/')}"
        if not controller.is_directory(code):
            reason = f"there is no directory {code} on the controller"
            yield Fault(f"{where}.source.subdirectory", reason, "correct subdirectory, or the path before it")
            return
    if not controller.is_directory(code):
        yield Fault(
            f"{where}.source.path",
            f"there is no directory {code} on the controller",
            "create it there, or correct the path (a relative path starts at the root of this repository)",
        )
        return
    rendered = _pairs(app.get("files"), rule.file_path, rule.controller_path)
    for name, file in _named_files(app).items():
        if file and file not in rendered and not controller.is_file(f"{code}/{file}"):
            reason = f"there is no file {file} in {code}"
            yield Fault(f"{where}.{name}", reason, f"correct {name}, or add the file to the code")


def _static_faults(app: Mapping[str, Any], where: str, _controller: Controller) -> Iterator[Fault]:
    static = _pairs(app.get("static"), rule.static_url, rule.relative_path)
    for url, path in static.items():
        place = f"{where}.static{member(url)}"
        if not url.endswith("/") and path.endswith("/"):
            yield Fault(
                place,
                f"{shown(url)} is the URL of a single file, and {shown(path)} is a directory",
                f"{url}/: {path}",
            )
        for other in static:
            if other != url and _inside(url, other) and len(other) < len(url):
                yield Fault(
                    place,
                    f"it overlaps with {shown(other)}, so one URL would mean two files",
                    f"choose a URL that is not below {other}",
                )


def _persistent_faults(app: Mapping[str, Any], where: str, _controller: Controller) -> Iterator[Fault]:
    persistent = [(index, path) for index, path in _items(app.get("persistent"), rule.relative_path)]
    for index, path in persistent:
        for _, other in persistent:
            if path != other and _inside(path, other):
                reason = f"{shown(path)} lies inside {shown(other)}, which is persistent already"
                yield Fault(f"{where}.persistent[{index}]", reason, f"remove {path}")
    for url, path in _pairs(app.get("static"), rule.static_url, rule.relative_path).items():
        for _, kept in persistent:
            if path.rstrip("/") != kept.rstrip("/") and _inside(kept, path):
                yield Fault(
                    f"{where}.static{member(url)}",
                    f"{shown(path)} contains the persistent directory {shown(kept)}: releases replace one and "
                    "keep the other",
                    f"move {kept} out of {path}, and give it a URL of its own",
                )


def _health_faults(app: Mapping[str, Any], where: str, _controller: Controller) -> Iterator[Fault]:
    health = app.get("health")
    path = _good(health.get("path", "/"), rule.health_path) if isinstance(health, Mapping) else None
    for url in _pairs(app.get("static"), rule.static_url, rule.relative_path):
        if path and (path.partition("?")[0] == url or (url.endswith("/") and path.startswith(url))):
            reason = f"{shown(path)} is below {shown(url)}, which nginx serves without the app"
            yield Fault(
                f"{where}.health.path", reason, "path: /healthz    # a URL that the app itself answers"
            )


def _env_faults(app: Mapping[str, Any], where: str, _controller: Controller) -> Iterator[Fault]:
    env = app.get("env")
    for index, name in _items(app.get("secrets"), rule.env_name):
        if isinstance(env, Mapping) and name in env:
            yield Fault(
                f"{where}.env.{name}",
                f"{name} is in `env` and in `secrets`",
                f"remove it from one of them (if it is a secret, remove it from env and keep secrets[{index}])",
            )


def _process_faults(app: Mapping[str, Any], where: str, _controller: Controller) -> Iterator[Fault]:
    workers, schedule = app.get("workers"), app.get("schedule")
    if not isinstance(schedule, Mapping):
        return
    for name, job in schedule.items():
        place = f"{where}.schedule{member(str(name))}"
        if isinstance(workers, Mapping) and name in workers:
            yield Fault(place, "a worker has this name", "rename one of the two")
        if isinstance(job, Mapping) and job.get("every") is not None and job.get("missed") is not None:
            reason = (
                "`missed` applies to `at` only: with `every` the next run does not depend on the time of day"
            )
            yield Fault(f"{place}.missed", reason, "remove missed")


def _sleep_faults(app: Mapping[str, Any], where: str, _controller: Controller) -> Iterator[Fault]:
    sleeps = app.get("on_demand") is True
    if sleeps and app.get("server") == "gunicorn":
        reason = "only the emperor can wake a sleeping app, and it runs uWSGI: gunicorn cannot sleep"
        yield Fault(f"{where}.on_demand", reason, "server: uwsgi    # or remove on_demand")
    if app.get("idle") is not None and not sleeps:
        reason = "`idle` has no effect without `on_demand`: the app never sleeps"
        yield Fault(f"{where}.idle", reason, "on_demand: true    # or remove idle")


def _tls_faults(app: Mapping[str, Any], where: str, controller: Controller) -> Iterator[Fault]:
    tls = app.get("tls")
    if not isinstance(tls, Mapping):
        return
    place = f"{where}.tls"
    provider = tls.get("provider") or "none"
    yield from _misplaced_tls_faults(tls, place, provider)
    if provider == "files":
        yield from _certificate_file_faults(tls.get("files"), place, controller)
    if provider == "acme" and tls.get("challenge") == "dns-01" and tls.get("dns_provider") is None:
        reason = "`dns_provider` is missing: name the provider that gets the DNS record"
        yield Fault(place, reason, "dns_provider: hetzner    # `lego dnshelp` on the host lists them all")
    hsts = tls.get("hsts")
    if isinstance(hsts, Mapping) and hsts.get("preload") is True:
        age = hsts.get("max_age")
        if hsts.get("subdomains") is not True or not isinstance(age, int) or age < 31536000:
            yield Fault(
                f"{place}.hsts.preload",
                "browsers accept a domain for preloading only with subdomains, and for at least a year",
                "hsts: {max_age: 63072000, subdomains: true, preload: true}",
            )


def _misplaced_tls_faults(tls: Mapping[str, Any], place: str, provider: str) -> Iterator[Fault]:
    """Settings that would be ignored: the provider is another one than they were written for."""
    belongs = {"files": "files", "challenge": "acme", "dns_provider": "acme"}
    for name, owner in belongs.items():
        if tls.get(name) is not None and provider != owner:
            reason = f"`{name}` applies to `provider: {owner}` only, but the provider is {provider}"
            yield Fault(f"{place}.{name}", reason, f"provider: {owner}    # or remove {name}")
    if tls.get("dns_provider") is not None and provider == "acme" and tls.get("challenge") != "dns-01":
        reason = "`dns_provider` has no effect without `challenge: dns-01`"
        yield Fault(f"{place}.dns_provider", reason, "challenge: dns-01    # or remove dns_provider")
    if tls.get("hsts") is not None and provider == "none":
        reason = "`hsts` has no effect without TLS; set it in the proxy that terminates TLS"
        yield Fault(f"{place}.hsts", reason, "provider: acme    # or remove hsts")


def _certificate_file_faults(files: Any, place: str, controller: Controller) -> Iterator[Fault]:
    example = "files: {certificate: secrets/blog.crt, key: secrets/blog.key}"
    if files is None:
        yield Fault(place, "`files` is missing: name the certificate and the key", example)
    if not isinstance(files, Mapping):
        return
    for name, check in (("certificate", rule.controller_path), ("key", rule.key_path)):
        if files.get(name) is None:
            yield Fault(f"{place}.files", f"`{name}` is missing", example)
        elif (path := _good(files[name], check)) and not controller.is_file(controller.at(path)):
            yield Fault(
                f"{place}.files.{name}",
                f"there is no file {controller.at(path)} on the controller",
                "create it there, or correct the path (a relative path starts at the root of this repository)",
            )


def _traffic_faults(app: Mapping[str, Any], where: str, controller: Controller) -> Iterator[Fault]:
    yield from traffic_problems.faults(app, where)
    for index, name in _items(app.get("secrets"), rule.env_name):
        if name in traffic_problems.secret_names(app):
            reason = f"{name} is the hash of a user's password, but `secrets` would put it into the app's environment"
            yield Fault(f"{where}.secrets[{index}]", reason, "remove it here: only `users` needs it")
    source = app.get("source")
    source = source if isinstance(source, Mapping) else {}
    path = _good(source.get("path"), rule.controller_path)
    pages = _pairs(app.get("error_pages"), traffic_rules.page_status, traffic_rules.page_file)
    for status, file in pages.items():
        for index, kept in _items(app.get("persistent"), rule.relative_path):
            if _inside(file, kept):
                reason = f"it lies in persistent[{index}], but an error page must be part of the release"
                yield Fault(f"{where}.error_pages{member(status)}", reason, "choose a file outside of it")
        if path and not app.get("build") and controller.is_directory(controller.at(path)):
            code = f"{controller.at(path)}/{source.get('subdirectory') or '.'}"
            if not controller.is_file(os.path.normpath(f"{code}/{file}")):
                reason = f"there is no file {file} in {os.path.normpath(code)}"
                yield Fault(f"{where}.error_pages{member(status)}", reason, "correct it, or add the file")


_CROSS_RULES = (
    _source_faults,
    _file_faults,
    _static_faults,
    _persistent_faults,
    _health_faults,
    _env_faults,
    _process_faults,
    _sleep_faults,
    _tls_faults,
    _traffic_faults,
)


def _inside(path: str, directory: str) -> bool:
    return f"{path.rstrip('/')}/".startswith(f"{directory.rstrip('/')}/")


# secrets


def _secret_faults(declared: HostApps, known: set[str]) -> Iterator[Fault]:
    secrets = {} if declared.secrets is None else declared.secrets
    if isinstance(secrets, Unresolved):
        yield unresolved(secrets, SECRETS)
        return
    if not isinstance(secrets, Mapping):
        reason = f"this is {given_privately(secrets)}, but must be a map of apps"
        yield Fault(SECRETS, reason, f"{SECRETS}:\n  blog:\n    SECRET_KEY: …")
        return
    for name in secrets:
        if name not in known:
            near = closest(name, known) if isinstance(name, str) else ""
            yield Fault(
                f"{SECRETS}{member(str(name))}",
                "no host has an app with this name",
                f"did you mean {near}?" if near else "remove it, or add the app",
            )
    for where, app in _present(declared.apps):
        if name := _name(app):
            yield from _app_secret_faults(app, where, name, secrets.get(name))


def _app_secret_faults(app: Mapping[str, Any], where: str, name: str, values: Any) -> Iterator[Fault]:
    place = f"{SECRETS}{member(name)}"
    if isinstance(values, Unresolved):
        yield unresolved(values, place)
        return
    if values is not None and not isinstance(values, Mapping):
        yield Fault(
            place,
            f"this is {given_privately(values)}, but must be a map of names to values",
            f"{SECRETS}:\n  {name}:\n    SECRET_KEY: …",
        )
        return
    values = values or {}
    names = dict(_items(app.get("secrets"), rule.env_name))
    missing = [(index, secret) for index, secret in names.items() if values.get(secret) is None]
    for index, secret in missing:
        yield Fault(
            f"{where}.secrets[{index}]",
            f"{secret} has no value in {place}",
            f"{SECRETS}:    # in a file encrypted by ansible-vault\n  {name}:\n    {secret}: …",
        )
    hashes = set(traffic_problems.secret_names(app))
    for secret in sorted(hashes):
        if values.get(secret) is None:
            reason = f"{secret} has no value in {place}"
            fix = f"{SECRETS}:    # in a file encrypted by ansible-vault\n  {name}:\n    {secret}: …    # openssl passwd -6"
            yield Fault(f"{where}.users", reason, fix)
    for key, value in values.items():
        absent = [secret for _, secret in missing]
        yield from _secret_fault(f"{place}{member(str(key))}", key, value, {*names.values(), *hashes}, absent)
        if key in hashes and isinstance(value, str) and (wrong := traffic_rules.password_hash(value)):
            fix = f"{key}: $6$…    # what `openssl passwd -6` prints"
            yield Fault(f"{place}{member(str(key))}", wrong.reason, fix)


def _secret_fault(
    place: str, key: Any, value: Any, declared: set[str], missing: list[str]
) -> Iterator[Fault]:
    if key not in declared:
        near = closest(key, missing or declared) if isinstance(key, str) else ""
        fix = f"did you mean {near}?" if near else f"secrets: [{key}]    # in the app, or remove the value"
        yield Fault(place, "there is a value, but the app does not list this name in its `secrets`", fix)
    elif isinstance(value, Unresolved):
        yield unresolved(value, place)
    elif value is not None and not isinstance(value, str):
        yield Fault(
            place, f"this is {given_privately(value)}, but must be a text", f'{key}: "…"    # with quotes'
        )
    elif isinstance(value, str) and (wrong := rule.secret_value(value)):
        yield Fault(place, wrong.reason, f"{key}: …    # in a file encrypted by ansible-vault")


def given_privately(value: Any) -> str:
    """What YAML made of a secret, without its value."""
    if isinstance(value, bool):
        return "a boolean (YAML also reads unquoted yes, no, on and off as booleans)"
    if isinstance(value, int | float | datetime.date):
        return "a number or a date"
    return given(value)


# the whole inventory


def _shared_machines(fleet: Mapping[str, HostApps]) -> Iterator[Problem]:
    hosts = defaultdict(list)
    for host, declared in fleet.items():
        if declared.machine:
            hosts[declared.machine].append(host)
    for machine, names in hosts.items():
        if len(names) > 1:
            reason = f"they are one machine ({machine}), so each would remove the other's apps"
            yield Problem(
                tuple(names), "ansible_host", reason, "keep one of them, with all apps in its python_apps"
            )


def _name_clashes(fleet: Mapping[str, HostApps]) -> Iterator[Problem]:
    first: dict[str, tuple[str, str, Mapping[str, Any]]] = {}
    clashes: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for host, declared in fleet.items():
        for where, app in _present(declared.apps):
            name = _name(app)
            if not name:
                continue
            other_host, _, other = first.setdefault(name, (host, where, app))
            if host != other_host and (different := _different(app, other)):
                clashes[where, other_host, ", ".join(different)].append(host)
    may_differ = " and ".join(PER_HOST)
    for (where, other_host, names), hosts in clashes.items():
        reason = f"host {other_host} has a different app with this name; the two differ in: {names}"
        fix = f"make the two equal (only {may_differ} may differ between hosts), or rename one of them"
        yield Problem(tuple(hosts), where, reason, fix)


def _different(app: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    if app == other:
        return []
    names = [*APP.names, *sorted(str(name) for name in {*app, *other} if name not in APP.names)]
    return [name for name in names if name not in PER_HOST and app.get(name) != other.get(name)]


def _domain_clashes(fleet: Mapping[str, HostApps]) -> Iterator[Problem]:
    """Two apps at one place, and apps that share a domain and cannot."""
    first: dict[tuple[str, str], tuple[str, str, str]] = {}
    sharing: dict[str, dict[str, tuple[str, str, Mapping[str, Any]]]] = defaultdict(dict)
    clashes: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for host, declared in fleet.items():
        for where, app in _present(declared.apps):
            path = traffic_problems.path_of(app)
            for index, domain in _items(app.get("domains"), rule.domain):
                owner = _name(app) or where
                place = first.setdefault((domain, path), (owner, host, where))
                sharing[domain].setdefault(owner, (host, where, app))
                if place[0] != owner:
                    at = place[2] if place[1] == host else f"{place[2]} on host {place[1]}"
                    at += f" at {path}" if path != "/" else ""
                    clashes[f"{where}.domains[{index}]", domain, owner, at].append(host)
    for (where, domain, owner, at), hosts in clashes.items():
        yield Problem(
            tuple(hosts),
            where,
            f"{shown(domain)} already leads to {at}",
            f"remove it from one of the two apps, or give {owner} a domain of its own",
        )
    yield from _sharing_problems(fleet, sharing)


def _sharing_problems(
    fleet: Mapping[str, HostApps],
    sharing: Mapping[str, Mapping[str, tuple[str, str, Mapping[str, Any]]]],
) -> Iterator[Problem]:
    hosts = defaultdict(set)
    for host, declared in fleet.items():
        for where, app in _present(declared.apps):
            hosts[_name(app) or where].add(host)
    seen: set[tuple[str, Fault]] = set()
    for owners in sharing.values():
        for (name, (_, where, app)), (other_name, others) in itertools.combinations(owners.items(), 2):
            other_host, other_where, other = others
            if traffic_problems.path_of(app) == traffic_problems.path_of(other):
                continue
            found = list(traffic_problems.sharing_faults(other, other_where, app, where))
            if hosts[name] != hosts[other_name]:
                found.append(traffic_problems.hosts_fault(other_where, where))
            for fault in found:
                if (other_host, fault) not in seen:
                    seen.add((other_host, fault))
                    yield Problem((other_host,), fault.where, fault.reason, fault.fix)


def _without_secrets(listed: list[Problem], fleet: Mapping[str, HostApps]) -> list[Problem]:
    """The last line of defence: a secret that a template carried into another field is not printed either."""
    if not listed:
        return listed
    forms = _secret_forms(fleet.values())

    def clean(problem: Problem) -> Problem:
        texts = (problem.where, problem.reason, problem.fix)
        where, reason, fix = (functools.reduce(_hidden, forms, text) for text in texts)
        fix = fix if where == problem.where else "remove the secret from this name"
        return replace(problem, where=where, reason=reason, fix=fix)

    return [clean(problem) for problem in listed]


def _secret_forms(hosts: Iterable[HostApps]) -> list[str]:
    """The values of all secrets, as they are and as messages quote them; the longest first."""
    values = {value for host in hosts for value in _leaves(host.secrets) if len(value) >= SHORTEST_HIDDEN}
    quoted = {
        json.dumps(value, ensure_ascii=ascii_only)[1:-1] for value in values for ascii_only in (True, False)
    }
    return sorted(values | quoted, key=len, reverse=True)


def _hidden(text: str, secret: str) -> str:
    """*text* with *secret* masked, also where it was cut off by an ellipsis or written in small letters."""
    start = 0
    while (start := text.lower().find(secret[:SHORTEST_HIDDEN].lower(), start)) >= 0:
        end = start
        while (
            end < len(text) and end - start < len(secret) and text[end].lower() == secret[end - start].lower()
        ):
            end += 1
        if end - start == len(secret) or text[end : end + 1] == "…":
            text = f"{text[:start]}***{text[end:]}"
        start += 1
    return text


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


# reading what may be malformed


def _entries(apps: Any, everything: bool = False) -> Iterator[tuple[str, Any]]:
    """Each app with its place; only those that are maps, unless *everything* is asked for."""
    if not isinstance(apps, list | tuple):
        return
    for index, app in enumerate(apps):
        if everything or isinstance(app, Mapping):
            label = _name(app)
            yield f"{APPS}[{index}]" + (f" ({label})" if label else ""), app


def _present(apps: Any) -> Iterator[tuple[str, Any]]:
    """Each app that is to be there, with its place."""
    return ((where, app) for where, app in _entries(apps) if is_present(app))


def _name(app: Any) -> str:
    """The name of an app, when it is one."""
    name = app.get("name") if isinstance(app, Mapping) else None
    return name if isinstance(name, str) and not rule.name(name) else ""


def _good(value: Any, check: rule.Rule) -> str | None:
    return value if isinstance(value, str) and not check(value) else None


def _items(value: Any, check: rule.Rule) -> Iterator[tuple[int, str]]:
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            if _good(item, check) is not None:
                yield index, item


def _pairs(value: Any, key: rule.Rule, item: rule.Rule) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    return {
        name: path
        for name, path in value.items()
        if _good(name, key) is not None and _good(path, item) is not None
    }
