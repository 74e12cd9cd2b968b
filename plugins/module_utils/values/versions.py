"""What the version of an app from git may be."""

from __future__ import annotations

import re

from .texts import Wrong


def git_version(text: str) -> Wrong | None:
    if not text:
        return Wrong("it is empty")
    if text.startswith("-"):
        return Wrong("it starts with a hyphen, so that git would take it for an option")
    if ".." in text or "@{" in text or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._/@+#-]*", text):
        return Wrong("it must be one tag, branch or commit, as in v1.4.0")
    return None
