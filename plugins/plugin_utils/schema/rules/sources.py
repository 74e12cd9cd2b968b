"""Where the code comes from, in which version, for which Python."""

from __future__ import annotations

import re

from ....module_utils.values.texts import Wrong, unprintable
from .domains import hostname
from .paths import controller_path


def archive(text: str) -> Wrong | None:
    """A URL to fetch, or a file on the controller."""
    if "://" not in text:
        return controller_path(text)
    if found := unprintable(text):
        return Wrong(f"the character {found} is not allowed in a URL")
    if not re.fullmatch(r"https?://[^\s\"'`\\<>|;{}$]+", text) or not text.isascii():
        return Wrong("use https for an archive (or http: the checksum is verified in any case)")
    if not hostname(text):
        return Wrong("this URL has no host")
    return None


def checksum(text: str) -> Wrong | None:
    if re.fullmatch(r"sha256:[0-9a-f]{64}", text):
        return None
    better = f"sha256:{text.strip().lower().removeprefix('sha256:').strip()}"
    reason = "it must be sha256: and 64 hex digits, as `sha256sum FILE` prints them"
    return Wrong(reason, better if better != text and not checksum(better) else "")


def package(text: str) -> Wrong | None:
    name = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
    if re.fullmatch(rf"{name}(?:\[{name}(?:,{name})*\])?==[0-9][A-Za-z0-9.!+_-]*", text):
        return None
    found = re.fullmatch(rf"({name}(?:\[[^]]*\])?)\s*===?\s*([0-9][A-Za-z0-9.!+_-]*)", text.strip())
    better = re.sub(r"\s", "", f"{found[1]}=={found[2]}") if found else ""
    return Wrong(
        "it must be a package of the index with its exact version, as in kinto==25.1.0, so that every host and "
        "every day gets the same",
        better if better != text and better and not package(better) else "",
    )


def dependency_group(text: str) -> Wrong | None:
    if re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?", text):
        return None
    return Wrong(
        "a name has letters and digits, and . _ - between them, as in [project.optional-dependencies]"
    )


def python(text: str) -> Wrong | None:
    if re.fullmatch(r"3\.(9|[1-9][0-9])", text):
        return None
    found = re.match(r"(?:python)?(3\.(?:9|[1-9][0-9]))(?:\.[0-9]+)?$", text.strip())
    return Wrong("it must be a minor version, as in 3.12", found[1] if found and found[1] != text else "")


def known_hosts(text: str) -> Wrong | None:
    if not text.strip():
        return Wrong("it is empty")
    if found := unprintable(text.replace("\n", "").replace("\t", "")):
        return Wrong(f"the character {found} is not allowed in known_hosts")
    for line in text.splitlines():
        if line.strip() and not line.startswith("#") and len(line.split()) < 3:
            return Wrong("a line must be 'git.example.com ssh-ed25519 AAAA…', as ssh-keyscan prints it")
    return None
