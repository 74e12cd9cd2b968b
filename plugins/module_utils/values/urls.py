"""Which URLs git may be given: those of an app's source, and those that a repository has for its submodules."""

from __future__ import annotations

import re

from .texts import Wrong, unprintable


def git_url(text: str) -> Wrong | None:
    if not text:
        return Wrong("it is empty")
    if character := unprintable(text):
        return Wrong(f"the character {character} is not allowed in a URL")
    if re.search(r"\s", text):
        return Wrong("a URL must not contain blanks")
    if text.startswith("-"):
        return Wrong("it starts with a hyphen, so that git would take it for an option")
    if "::" in text.split("/", 1)[0] and not text.startswith("["):
        return Wrong("git would run a helper program for this kind of URL (as for ext::); use https or ssh")
    if re.match(r"(?:[a-z+]+://)?(?:[^/@]*@)?-", text):
        return Wrong("its host starts with a hyphen, so that ssh would take it for an option")
    if not text.isascii() or re.search(r"[\"'`\\<>|;{}$]", text):
        return Wrong("it has a character that must be escaped in a URL: write it as %XX")
    return None
