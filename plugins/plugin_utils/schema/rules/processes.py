"""What starts a process of an app, and when."""

from __future__ import annotations

import re

from ....module_utils.values.texts import Wrong, unprintable
from .paths import file_path

#: Names of an app's own units: its web server, and commands of `playbooks/run.yml`.
RESERVED_PROCESSES = ("run", "web")


def command(text: str) -> Wrong | None:
    if not text.strip():
        return Wrong("it is empty")
    if "\n" in text or "\r" in text:
        return Wrong("it has a line break, but a command is one line: split it, or add a script to the code")
    if found := unprintable(text.replace("\t", " ")):
        return Wrong(f"the character {found} is not allowed in a command")
    return None


def process_name(text: str) -> Wrong | None:
    """The name of a worker or of a scheduled command: a part of the name of its units."""
    if text in RESERVED_PROCESSES:
        return Wrong("this name is reserved for another unit of the app", f"{text}-1")
    if re.fullmatch(r"[a-z][a-z0-9-]{0,30}", text):
        return None
    guess = re.sub(r"[^a-z0-9]+", "-", text.lower()).lstrip("-0123456789").rstrip("-")[:31]
    return Wrong(
        "it becomes a part of a unit's name: start with a lowercase letter, then use lowercase letters, digits and hyphens, "
        "31 characters at most",
        guess if guess and process_name(guess) is None else "",
    )


_SPAN = re.compile(r"([0-9]+)(s|m|h|d)")


def span(text: str) -> Wrong | None:
    found = _SPAN.fullmatch(text)
    if not found:
        near = re.fullmatch(r"([0-9]+)\s*([smhd])[a-z]*", text.strip().lower())
        better = f"{near[1]}{near[2]}" if near else ""
        return Wrong("it must be a number with s, m, h or d, as in 15m", better)
    seconds = int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]
    if not 1 <= seconds <= 366 * 86400:
        return Wrong("it must be between 1s and 366d")
    return None


def asgi(text: str) -> Wrong | None:
    return _callable(text, "app.main:app", "app")


def wsgi(text: str) -> Wrong | None:
    return _callable(text, "blog.wsgi:application", "application")


def _callable(text: str, example: str, usual: str) -> Wrong | None:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*", text):
        return None
    if text.endswith(")") and ":" in text:
        return Wrong(
            f"a call is not supported here: call it in a module of the code ({usual} = create_app()) and "
            "name the result"
        )
    module, _, attribute = text.partition(":")
    better = f"{module.removesuffix('.py').strip('./').replace('/', '.')}:{attribute or usual}"
    return Wrong(
        f"it must be module:callable, as in {example}",
        better if better != text and _callable(better, example, usual) is None else "",
    )


def paste(text: str) -> Wrong | None:
    path, hash_sign, section = text.partition("#")
    if wrong := file_path(path):
        return wrong
    if not path.endswith(".ini"):
        return Wrong("it must be a PasteDeploy file ending in .ini, optionally with #section")
    if hash_sign and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", section):
        return Wrong("the name of a section [app:NAME] must follow the #: letters, digits and . _ -")
    return None
