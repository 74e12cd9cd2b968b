"""The sources of apt: which Debian they name, and what they are for the next one."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Debian:
    """A version of Debian, and the minor version of its Python."""

    number: str
    name: str
    python: str


BOOKWORM = Debian("12", "bookworm", "3.11")
TRIXIE = Debian("13", "trixie", "3.13")

#: What can be upgraded in place, and to what.
NEXT = {BOOKWORM.number: (BOOKWORM, TRIXIE)}

#: One line of a `.list`: everything before the suite, and the suite.
_LINE = re.compile(r"(?m)^(\s*deb(?:-src)?\s+(?:\[[^\]\n]*\]\s+)?\S+\s+)(\S+)")
#: The field of a `.sources` with its continuations.
_FIELD = re.compile(r"(?mi)^(Suites:)(.*(?:\n[ \t].*)*)")


def moved(text: str, old: str, new: str, deb822: bool) -> str:
    """*text* of a file of sources, with the suites of *new* in the place of those of *old*: `bookworm-security` as well."""
    suite = re.compile(rf"(?<![\w./-]){re.escape(old)}(?=[-/\s]|\Z)")

    def renamed(match: re.Match[str]) -> str:
        return match[1] + suite.sub(new, match[2])

    return (_FIELD if deb822 else _LINE).sub(renamed, text)


def files(etc: str = "/etc/apt") -> list[str]:
    """The files that apt reads its sources from."""
    parts = f"{etc}/sources.list.d"
    names = sorted(os.listdir(parts)) if os.path.isdir(parts) else []
    found = [f"{parts}/{name}" for name in names if re.fullmatch(r"[\w.-]+\.(?:list|sources)", name)]
    return [path for path in [f"{etc}/sources.list", *found] if os.path.isfile(path)]


def changes(old: str, new: str, etc: str = "/etc/apt") -> dict[str, str]:
    """The files of sources that name *old*, with their content for *new*."""
    found = {}
    for path in files(etc):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if (other := moved(text, old, new, path.endswith(".sources"))) != text:
            found[path] = other
    return found
