"""What a path may be: inside the code, on the controller, of a URL."""

from __future__ import annotations

import posixpath
import re

from ....module_utils.values.texts import Wrong, odd_character, unprintable

_SEGMENT = re.compile(r"[A-Za-z0-9._~@+][A-Za-z0-9._~@+-]*")
_CHALLENGES = "/.well-known/acme-challenge/"


def relative_path(text: str) -> Wrong | None:
    """A path inside the app's code. One slash at the end is fine: people write directories so."""
    if not text:
        return Wrong("it is empty")
    if text.startswith("/"):
        return Wrong("it must be relative to the app's code, without a slash at the start", _tidy(text))
    if ".." in text.split("/"):
        return Wrong("it leads out of the app's code with '..'")
    body = text.removesuffix("/")
    if any(part in ("", ".") for part in body.split("/")):
        better = _tidy(text)
        if better:
            return Wrong("it has an empty or a '.' part", better)
        return Wrong("this is the whole code: name a part of it")
    if ".git" in body.split("/"):
        return Wrong(".git cannot be used: it contains the history and possibly credentials")
    if found := odd_character(body, "A-Za-z0-9._~@+/-"):
        return Wrong(f"the character {found} is not allowed: use letters, digits and . _ ~ @ + -")
    for part in body.split("/"):
        if not _SEGMENT.fullmatch(part):
            return Wrong(f"the part {part!r} starts with a hyphen, so programs would take it for an option")
    return None


def _tidy(text: str) -> str:
    """The relative path that was probably meant, or nothing."""
    path = posixpath.normpath(text.lstrip("/")) if text.strip("/") else "."
    return "" if path == "." or relative_path(path) else path


def file_path(text: str) -> Wrong | None:
    if text.endswith("/") and not relative_path(text):
        return Wrong("it must be a file, but a trailing slash means a directory", text.rstrip("/"))
    return relative_path(text)


def requirements(text: str) -> Wrong | None:
    if text.startswith("../"):
        return Wrong(
            "it lies above the code: let the code begin there, and name the directory of the modules in `pythonpath`",
            fix="source: {git: …}    # without subdirectory\npythonpath: [src]\nrequirements: requirements.txt",
        )
    return file_path(text)


def static_url(text: str) -> Wrong | None:
    if not text.startswith("/"):
        better = f"/{text}"
        return Wrong("a URL path starts with a slash", "" if static_url(better) else better)
    if text == "/":
        return Wrong("this would hide the whole app behind files: use a path such as /static/")
    if found := odd_character(text, "A-Za-z0-9._~@+/-"):
        return Wrong(
            f"the character {found} is not allowed: write a plain path (no pattern) of letters, "
            "digits and . _ ~ @ + -"
        )
    parts = text[1:].removesuffix("/").split("/")
    if ".." in parts or "." in parts or "" in parts:
        better = posixpath.normpath(re.sub("/+", "/", text)) + ("/" if text.endswith("/") else "")
        good = better != text and not static_url(better)
        return Wrong("it has an empty, '.' or '..' part", better if good else "")
    if ".git" in parts:
        return Wrong(".git is never served")
    if text == _CHALLENGES.rstrip("/") or text.startswith(_CHALLENGES):
        return Wrong("this path is reserved for issuing certificates")
    return None


def controller_path(text: str) -> Wrong | None:
    if not text:
        return Wrong("it is empty")
    if found := unprintable(text):
        return Wrong(f"the character {found} is not allowed in a path")
    if text.startswith("~"):
        return Wrong("~ is not expanded: start with a slash, or with a directory of this repository")
    return None


def key_path(text: str) -> Wrong | None:
    if "\n" in text or "PRIVATE KEY" in text:
        return Wrong(
            "this is the key itself: put it into a file, encrypt the file with ansible-vault, and name the file here"
        )
    return controller_path(text)


def health_path(text: str) -> Wrong | None:
    if not text.startswith("/"):
        better = f"/{text}"
        return Wrong("a URL path starts with a slash", "" if health_path(better) else better)
    if found := odd_character(text, "A-Za-z0-9/._~@&+,=:?%-"):
        return Wrong(f"the character {found} is not allowed in a URL: write it as %XX")
    return None
