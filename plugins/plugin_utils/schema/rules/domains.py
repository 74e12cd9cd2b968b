"""What a host name may be."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ....module_utils.values.texts import Wrong, odd_character, unprintable

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


WILDCARD = "*."


def domain(text: str) -> Wrong | None:
    """A host name, or `*.` and one: all names that have one part more."""
    below = text.removeprefix(WILDCARD)
    wrong = _domain(below)
    if wrong is None and below != text and "." not in below:
        return Wrong("a wildcard stands for the names below a domain of yours, such as *.example.com")
    if wrong and wrong.better and _domain(wrong.better):
        return wrong._replace(better="")
    if wrong and wrong.better and below != text:
        return wrong._replace(better=f"{WILDCARD}{wrong.better}")
    return wrong


def _domain(text: str) -> Wrong | None:
    if not text:
        return Wrong("it is empty")
    if found := unprintable(text):
        return Wrong(f"the character {found} is not allowed in a host name")
    if "://" in text:
        return Wrong("this is a URL; write the host name only", hostname(text))
    if "*" in text:
        return Wrong("a wildcard is the whole first part of a name, as in *.example.com")
    if "/" in text:
        return Wrong("this has a path; write the host name only", hostname(f"http://{text}"))
    if re.fullmatch(r"[^:]+:\d+", text):
        return Wrong("this has a port; write the host name only", text.partition(":")[0].lower())
    if not text.isascii():
        return Wrong("write it in the ASCII form that DNS uses", _idna(text))
    if text.endswith("."):
        return Wrong("write it without the dot at the end", text.rstrip(".").lower())
    if text != text.lower():
        return Wrong("write host names in lowercase", text.lower())
    if "_" in text:
        reason = "a host name has no underscore (certificate authorities and some browsers reject it)"
        return Wrong(reason, text.replace("_", "-"))
    if found := odd_character(text, "a-z0-9.-"):
        return Wrong(f"the character {found} is not allowed in a host name")
    if len(text) > 253:
        return Wrong(f"it has {len(text)} characters, and DNS allows 253")
    labels = text.split(".")
    if labels[-1].isdigit():
        return Wrong("this is an address, but nginx chooses the app by host name: write a host name")
    for label in labels:
        if not _LABEL.fullmatch(label):
            return Wrong(
                f"the part {label!r} is not valid: between dots there are 1 to 63 letters, digits or "
                "hyphens, "
                "with no hyphen at the ends"
            )
        if label.startswith("xn--") and not _decodes(label):
            return Wrong(f"the part {label!r} is not valid punycode")
    return None


def hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _idna(text: str) -> str:
    """The name as browsers look it up: UTS 46, then IDNA 2008. Empty where it has none.

    Python's own codec knows IDNA 2003 alone, by which `straße.de` is `strasse.de`, another's domain.
    """
    try:
        import idna

        return idna.encode(text, uts46=True).decode("ascii").lower()
    except (ImportError, UnicodeError):
        # Where the package is missing, no name is better than a wrong one.
        return ""


def _decodes(label: str) -> bool:
    """Whether *label* is the punycode of a text that is no plain one. Which texts a registry takes is its own matter."""
    body = label.removeprefix("xn--")
    try:
        text = body.encode("ascii").decode("punycode")
        return not text.isascii() and text.isprintable() and text.encode("punycode").decode("ascii") == body
    except UnicodeError:
        return False
