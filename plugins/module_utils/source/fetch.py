"""Bring the code of a release to a host: from git, from an archive, or from a directory of the controller."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import posixpath
import time
import urllib.request
from collections.abc import Mapping
from typing import IO
from urllib.parse import urlsplit

from ..files import trees
from ..host import credentials
from ..host.credentials import without_credentials
from ..host.release_error import ReleaseError
from ..systemd.app_process import run_as
from .archives import repack
from .checkout import make_code
from .git import fetch_git
from .spec import Source, ToFetch


def version_of(source: Source, revision: str) -> str:
    """What people call this version of the source, for messages and the manifest."""
    if package := source.get("package"):
        return package.rpartition("==")[2]
    if archive := source.get("archive"):
        return posixpath.basename(urlsplit(archive).path)
    return source.get("version") or revision


def fetch(spec: ToFetch, revision: str, code: str, proxies: Mapping[str, str]) -> None:
    """Bring the code of the app in *spec* at *revision* into the new directory *code*.

    Raises ReleaseError and CommandFailed.
    """
    app, source = spec["name"], spec["source"]
    if source.get("git"):
        fetch_git(app, source, spec.get("key"), revision, code)
    elif source.get("package"):
        make_code(app, code)
    else:
        with trees.temporary(".fetch-", os.path.dirname(code)) as directory:
            archive, url = _sent(spec, directory), source.get("archive")
            if not url:
                unpack(app, archive, code)
                return
            if not archive:
                archive = f"{directory}/archive"
                download(url, archive, proxies)
            check_sum(archive, str(source["checksum"]), url)
            plain = f"{directory}/source.tar"
            repack(archive, plain, source.get("subdirectory"))
            unpack(app, plain, code, compressed=False)


def _sent(spec: ToFetch, directory: str) -> str:
    """The archive that the controller sent: a file of its own, or within *spec*, which is put into *directory* then. Empty
    where the host fetches it itself."""
    if "archive_content" not in spec:
        return spec.get("archive") or ""
    path = f"{directory}/sent"
    with open(path, "wb") as file:
        file.write(base64.b64decode(spec["archive_content"]))
    return path


# Archives


#: Seconds in which an archive has to be here: a server that sends a byte a minute must not hold a deploy for ever.
LONGEST_DOWNLOAD = 1800


def download(url: str, target: str, proxies: Mapping[str, str]) -> None:
    """Fetch *url* into the file *target*; user and password in it are sent to its own server alone.

    At most half of what is free on the disk, and for LONGEST_DOWNLOAD seconds at most. Raises ReleaseError.
    """
    shown = without_credentials(url)
    # The schema lets http and https through alone.
    request = urllib.request.Request(  # noqa: S310
        credentials.without_login(url), headers={"User-Agent": "emperor-stack"}
    )
    if login := credentials.login(url):
        pair = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {pair}")
    try:
        with _opener(proxies).open(request, timeout=60) as answer, open(target, "wb") as file:
            _copy(answer, file, shown)
    # What a server says instead of an answer is no OSError.
    except (OSError, http.client.HTTPException) as error:
        reason = credentials.masked(str(getattr(error, "reason", None) or error))[:300]
        raise ReleaseError(
            f"fetching {shown} failed: {reason}\nCheck source.archive, and whether this host can reach it."
        ) from error


def _opener(proxies: Mapping[str, str]) -> urllib.request.OpenerDirector:
    """What speaks http and https and nothing else, wherever a server redirects to: `build_opener` adds ftp and files."""
    opener = urllib.request.OpenerDirector()
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ]
    if proxies:
        handlers.append(urllib.request.ProxyHandler(dict(proxies)))
    for handler in handlers:
        opener.add_handler(handler)
    return opener


def _copy(answer: IO[bytes], file: IO[bytes], shown: str) -> None:
    """Copy *answer* into *file*. Raises ReleaseError when it is too long or too slow."""
    space = os.fstatvfs(file.fileno())
    left = space.f_bavail * space.f_frsize // 2
    deadline = time.monotonic() + LONGEST_DOWNLOAD
    while part := answer.read(1 << 20):
        left -= len(part)
        if left < 0:
            raise ReleaseError(f"{shown} would fill more than half of the free space on this host's disk")
        if time.monotonic() > deadline:
            raise ReleaseError(f"{shown} was not downloaded within {LONGEST_DOWNLOAD} s")
        file.write(part)


def check_sum(path: str, checksum: str, name: str) -> None:
    """Raises ReleaseError when the file at *path* has not the *checksum* (`sha256:…`)."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if checksum != f"sha256:{digest}":
        raise ReleaseError(
            f"{without_credentials(name)} has sha256:{digest}, but source.checksum is {checksum}. The file "
            "was changed, or the checksum belongs to another version: compare it with the checksum that "
            "its author publishes."
        )


def unpack(app: str, archive: str, code: str, compressed: bool = True) -> None:
    """Unpack a tar file that the controller made of its directory: as the app's user, who can harm nobody else."""
    make_code(app, code)
    with open(archive, "rb") as file:
        run_as(
            app,
            ["tar", "--extract", *(["--gzip"] if compressed else [])]
            + ["--no-same-owner", "--no-same-permissions", f"--directory={code}"],
            what="unpacking the source",
            writable=(code,),
            stdin=file,
        )
