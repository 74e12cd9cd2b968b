"""What other programs are told in their own language: nginx and lego."""

from __future__ import annotations

import re

from ....module_utils.values.texts import Wrong, unprintable
from . import nginx_syntax


def dns_provider(text: str) -> Wrong | None:
    if re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", text):
        return None
    return Wrong("it must be a name that `lego dnshelp` lists: lowercase letters, digits and hyphens", "")


def nginx_directives(text: str) -> Wrong | None:
    """Whole directives, as far as the form goes; the host's nginx says what it thinks of their names."""
    if not text.strip():
        return Wrong("it is empty")
    if found := unprintable(text.replace("\n", "").replace("\t", "")):
        return Wrong(f"the character {found} is not allowed in a configuration")
    if broken := nginx_syntax.problem(text):
        return Wrong(f"line {broken.line}: {broken.reason}")
    return None
