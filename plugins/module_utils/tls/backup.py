"""Accounts and certificates as one archive, and back on another host."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator

from ..host import layout
from . import certificates
from .store import Unusable, certificate_at, install, live

#: What an archive may hold: accounts, and versions of certificates with the link to the live one.
_MEMBER = re.compile(
    r"accounts(/[A-Za-z0-9@._+:-]+){0,4}"
    r"|apps(/[a-z][a-z0-9-]{0,30}(/versions(/[0-9]{8}T[0-9]{6}-[0-9a-f]{6}(/(certificate|key)\.pem|/meta\.json)?)?"
    r"|/live)?)?"
)


def backup() -> str:
    """Accounts and live certificates with their keys, as a compressed archive in base64."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:

        def chosen(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
            return member if _MEMBER.fullmatch(member.name) else None

        for name in ("accounts", "apps"):
            if os.path.isdir(f"{layout.TLS}/{name}"):
                archive.add(f"{layout.TLS}/{name}", arcname=name, filter=chosen)
    return base64.b64encode(data.getvalue()).decode()


def restore(data: str) -> list[str]:
    """Put back what `backup` gave. A certificate that lasts longer than that of the archive stays.

    Returns what was put back. Raises Unusable when the archive is none of ours; then nothing has changed.
    """
    with tempfile.TemporaryDirectory(dir=layout.TLS) as directory:
        try:
            raw = io.BytesIO(base64.b64decode(data, validate=True))
            with tarfile.open(fileobj=raw, mode="r:gz") as archive:
                members = archive.getmembers()
                for member in members:
                    link = member.issym() and re.fullmatch(r"versions/[0-9TZa-f-]+", member.linkname)
                    if not _MEMBER.fullmatch(member.name) or ".." in member.name.split("/"):
                        raise Unusable(f"it contains {member.name!r}, which no backup contains")
                    if not (member.isdir() or member.isreg() or link):
                        raise Unusable(f"{member.name!r} in it is neither a file nor a directory")
                for member in members:
                    member.uid = member.gid = 0
                    member.uname = member.gname = ""
                    member.mode = 0o700 if member.isdir() else 0o600
                    archive.extract(member, directory)
        except (OSError, ValueError, tarfile.TarError, EOFError) as error:
            raise Unusable(f"it is not a backup of certificates ({error})") from error
        return [*_restored_accounts(directory), *_restored_certificates(directory)]


def _restored_accounts(directory: str) -> Iterator[str]:
    """Accounts that this host does not have; its own stay."""
    source = f"{directory}/accounts"
    for server in sorted(os.listdir(source)) if os.path.isdir(source) else ():
        for address in sorted(os.listdir(f"{source}/{server}")):
            target = f"{layout.TLS_ACCOUNTS}/{server}/{address}"
            if not os.path.exists(target):
                os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
                shutil.copytree(f"{source}/{server}/{address}", target)
                yield f"account {address} at {server}"


def _restored_certificates(directory: str) -> Iterator[str]:
    source = f"{directory}/apps"
    for app in sorted(os.listdir(source)) if os.path.isdir(source) else ():
        saved, found = certificate_at(f"{source}/{app}/live"), live(app)
        if saved is None or saved.source == "self_signed":
            continue
        if found and found.source != "self_signed" and found.not_after >= saved.not_after:
            continue
        texts = []
        for name in ("certificate.pem", "key.pem", "meta.json"):
            with open(f"{source}/{app}/live/{name}", encoding="ascii") as file:
                texts.append(file.read())
        install(app, texts[0], texts[1], json.loads(texts[2]))
        yield f"certificate of {app}, until {certificates.day(saved.not_after)}"
