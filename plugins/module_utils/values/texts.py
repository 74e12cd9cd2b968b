"""What a rule says of a single text.

A rule takes the text and returns None, or what is wrong together with a text that would be right (empty when none can be
guessed). The patterns are narrow on purpose: what they let through means nothing to nginx, to a uWSGI ini or to a shell, so
that nothing typed into `python_apps` can end one directive of a config and begin another.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple


class Wrong(NamedTuple):
    reason: str
    #: A text that is right.
    better: str = ""
    #: What to do instead, where no other text helps.
    fix: str = ""


Rule = Callable[[str], Wrong | None]


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def unprintable(text: str) -> str:
    """The first character of *text* that no config or command should hold, in a form to show; else empty."""
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            return ascii(character)
    return ""


def odd_character(text: str, allowed: str) -> str:
    match = re.search(rf"[^{allowed}]", text)
    return ascii(match.group()) if match else ""
