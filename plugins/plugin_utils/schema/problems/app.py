"""Problems of one app: rules between its keys, beyond what the schema says of each."""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Mapping
from typing import Any

from ..faults import Fault, listed, member, shown
from ..rules import environment, paths, processes, sources, visitors
from . import asgi, logins, traffic, wildcards
from .databases import database_faults
from .entries import good_items, good_pairs, good_text
from .found import Controller

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
    key, path = (
        good_text(source.get("key"), paths.key_path),
        good_text(source.get("path"), paths.controller_path),
    )
    if key and not controller.is_file(controller.at(key)):
        yield Fault(
            f"{place}.key",
            f"there is no file {controller.at(key)} on the controller",
            "create it there, or correct the path (a relative path starts at the root of this repository)",
        )
    archive = good_text(source.get("archive"), sources.archive)
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
    for key in ("extras", "groups"):
        if app.get(key):
            reason = f"`{key}` applies to files of the source, and has no effect with `package`"
            yield Fault(
                f"{where}.{key}", reason, "package: kinto[postgresql]==25.1.0    # extras stand in brackets"
            )
    files = good_pairs(app.get("files"), paths.file_path, paths.controller_path)
    for name, file in _named_files(app).items():
        if file and file not in files:
            reason = f"the code of a package consists of `files` alone, and {shown(file)} is not one of them"
            yield Fault(f"{where}.{name}", reason, f"files: {{{file}: templates/{file}.j2}}")


def _named_files(app: Mapping[str, Any]) -> dict[str, str | None]:
    """The files that the app's other keys expect in the code."""
    return {
        "requirements": good_text(app.get("requirements"), paths.file_path),
        "paste": (good_text(app.get("paste"), processes.paste) or "").partition("#")[0],
    }


def _file_faults(app: Mapping[str, Any], where: str, controller: Controller) -> Iterator[Fault]:
    files = good_pairs(app.get("files"), paths.file_path, paths.controller_path)
    for name, template in files.items():
        place = f"{where}.files{member(name)}"
        if not controller.is_file(controller.at(template)):
            yield Fault(
                place,
                f"there is no file {controller.at(template)} on the controller",
                "create it there, or correct the path (a relative path starts at the root of this repository)",
            )
        for index, kept in good_items(app.get("persistent"), paths.relative_path):
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
    subdirectory = good_text(source.get("subdirectory"), paths.relative_path)
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
    rendered = good_pairs(app.get("files"), paths.file_path, paths.controller_path)
    for name, file in _named_files(app).items():
        if file and file not in rendered and not controller.is_file(f"{code}/{file}"):
            reason = f"there is no file {file} in {code}"
            yield Fault(f"{where}.{name}", reason, f"correct {name}, or add the file to the code")


def _static_paths(app: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The URL and the path of each of the app's static files and directories, of those that are well-formed."""
    static = app.get("static")
    for url, value in static.items() if isinstance(static, Mapping) else ():
        if good_text(url, paths.static_url) is not None:
            for _, path in good_items([value] if isinstance(value, str) else value, paths.relative_path):
                yield url, path


def _several_faults(app: Mapping[str, Any], where: str) -> Iterator[Fault]:
    """URLs with a list of directories."""
    static = app.get("static")
    kept = [path.rstrip("/") for _, path in good_items(app.get("persistent"), paths.relative_path)]
    for url, value in static.items() if isinstance(static, Mapping) else ():
        if not isinstance(url, str) or not isinstance(value, list | tuple) or len(value) < 2:
            continue
        place = f"{where}.static{member(url)}"
        if not url.endswith("/"):
            yield Fault(
                place,
                f"{shown(url)} is the URL of a single file, and cannot be several",
                f"{url}: {value[0]}",
            )
        for index, path in good_items(value, paths.relative_path):
            if any(_inside(path, one) for one in kept):
                reason = f"{shown(path)} is persistent, and only directories of the release can share a URL"
                yield Fault(f"{place}[{index}]", reason, f"give {path} a URL of its own")


def _static_faults(app: Mapping[str, Any], where: str, _controller: Controller) -> Iterator[Fault]:
    yield from _several_faults(app, where)
    static = list(dict.fromkeys(url for url, _ in _static_paths(app)))
    for url, path in _static_paths(app):
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
    persistent = [(index, path) for index, path in good_items(app.get("persistent"), paths.relative_path)]
    for index, path in persistent:
        for _, other in persistent:
            if path != other and _inside(path, other):
                reason = f"{shown(path)} lies inside {shown(other)}, which is persistent already"
                yield Fault(f"{where}.persistent[{index}]", reason, f"remove {path}")
    yield from _persistent_file_faults(app, where)
    for url, path in _static_paths(app):
        for _, kept in persistent:
            if path.rstrip("/") != kept.rstrip("/") and _inside(kept, path):
                yield Fault(
                    f"{where}.static{member(url)}",
                    f"{shown(path)} contains the persistent directory {shown(kept)}: releases replace one and "
                    "keep the other",
                    f"move {kept} out of {path}, and give it a URL of its own",
                )


#: How names of databases end, which are files.
_DATABASES = (".sqlite3", ".sqlite", ".db")


def _persistent_file_faults(app: Mapping[str, Any], where: str) -> Iterator[Fault]:
    """Persistent files, and files that are declared as directories."""
    directories = [
        (i, path.rstrip("/")) for i, path in good_items(app.get("persistent"), paths.relative_path)
    ]
    kept = [path for _, path in directories]
    for index, path in directories:
        if path.endswith(_DATABASES):
            reason = f"{shown(path)} is a file by its name, and would become a directory"
            yield Fault(f"{where}.persistent[{index}]", reason, f"persistent_files: [{path}]")
    rendered = good_pairs(app.get("files"), paths.file_path, paths.controller_path)
    files = list(good_items(app.get("persistent_files"), paths.file_path))
    for index, path in files:
        place = f"{where}.persistent_files[{index}]"
        for other in [*kept, *(one for _, one in files if one != path)]:
            if _inside(path, other) or _inside(other, path):
                yield Fault(
                    place, f"{shown(path)} and the persistent {shown(other)} overlap", f"remove {path}"
                )
        if path in rendered:
            yield Fault(place, f"`files` renders {shown(path)} in each release", "remove it from one of them")
        for url, served in _static_paths(app):
            if _inside(path, served):
                reason = (
                    f"{shown(path)} would be served at {shown(url)}, which shows files of the release alone"
                )
                yield Fault(place, reason, "move it out of what `static` serves")


def _health_faults(app: Mapping[str, Any], where: str, _controller: Controller) -> Iterator[Fault]:
    health = app.get("health")
    path = good_text(health.get("path", "/"), paths.health_path) if isinstance(health, Mapping) else None
    for url, _ in _static_paths(app):
        if path and (path.partition("?")[0] == url or (url.endswith("/") and path.startswith(url))):
            reason = f"{shown(path)} is below {shown(url)}, which nginx serves without the app"
            yield Fault(
                f"{where}.health.path", reason, "path: /healthz    # a URL that the app itself answers"
            )


def _env_faults(app: Mapping[str, Any], where: str, _controller: Controller) -> Iterator[Fault]:
    env = app.get("env")
    for index, name in good_items(app.get("secrets"), environment.env_name):
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
    yield from asgi.faults(app, where)
    sleeps = app.get("on_demand") is True
    if sleeps and app.get("server") == "gunicorn" and app.get("asgi") is None:
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
    for name, check in (("certificate", paths.controller_path), ("key", paths.key_path)):
        if files.get(name) is None:
            yield Fault(f"{place}.files", f"`{name}` is missing", example)
        elif (path := good_text(files[name], check)) and not controller.is_file(controller.at(path)):
            yield Fault(
                f"{place}.files.{name}",
                f"there is no file {controller.at(path)} on the controller",
                "create it there, or correct the path (a relative path starts at the root of this repository)",
            )


def _traffic_faults(app: Mapping[str, Any], where: str, controller: Controller) -> Iterator[Fault]:
    yield from traffic.faults(app, where)
    for index, name in good_items(app.get("secrets"), environment.env_name):
        if name in traffic.secret_names(app):
            reason = f"{name} is the hash of a user's password, but `secrets` would put it into the app's environment"
            yield Fault(f"{where}.secrets[{index}]", reason, "remove it here: only `users` needs it")
    source = app.get("source")
    source = source if isinstance(source, Mapping) else {}
    path = good_text(source.get("path"), paths.controller_path)
    pages = good_pairs(app.get("error_pages"), visitors.page_status, visitors.page_file)
    for status, file in pages.items():
        for index, kept in good_items(app.get("persistent"), paths.relative_path):
            if _inside(file, kept):
                reason = f"it lies in persistent[{index}], but an error page must be part of the release"
                yield Fault(f"{where}.error_pages{member(status)}", reason, "choose a file outside of it")
        if path and not app.get("build") and controller.is_directory(controller.at(path)):
            code = f"{controller.at(path)}/{source.get('subdirectory') or '.'}"
            if not controller.is_file(os.path.normpath(f"{code}/{file}")):
                reason = f"there is no file {file} in {os.path.normpath(code)}"
                yield Fault(f"{where}.error_pages{member(status)}", reason, "correct it, or add the file")


CROSS_RULES = (
    logins.faults,
    _source_faults,
    _file_faults,
    _static_faults,
    _persistent_faults,
    _health_faults,
    _env_faults,
    _process_faults,
    _sleep_faults,
    _tls_faults,
    wildcards.faults,
    _traffic_faults,
    database_faults,
)


def _inside(path: str, directory: str) -> bool:
    return f"{path.rstrip('/')}/".startswith(f"{directory.rstrip('/')}/")
