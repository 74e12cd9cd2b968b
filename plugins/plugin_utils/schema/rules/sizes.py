"""What a size may be: of a request body, and of memory and disk."""

from __future__ import annotations

import re

from ....module_utils.values.texts import Wrong


def size(text: str) -> Wrong | None:
    if not re.fullmatch(r"[0-9]+[kmg]?", text):
        found = re.fullmatch(r"([0-9]+)\s*([KkMmGg])(?:i?[Bb])?", text.strip())
        better = f"{found[1]}{found[2].lower()}" if found else ""
        return Wrong("it must be a number with k, m or g, as in 20m", better)
    number = int(text.rstrip("kmg"))
    if number == 0:
        return Wrong("0 means no limit in nginx: write the size of the largest upload")
    if number * {"k": 1024, "m": 1024**2, "g": 1024**3}.get(text[-1], 1) > 1024**4:
        return Wrong("it is more than 1024g")
    return None


def memory(text: str) -> Wrong | None:
    """As systemd writes sizes, whole and at least 16M: less does not hold an interpreter."""
    found = re.fullmatch(r"([0-9]{1,7})([MG])", text)
    if not found:
        near = re.fullmatch(r"([0-9]{1,7})\s*([MmGg])(?:i?[Bb])?", text.strip())
        better = f"{near[1]}{near[2].upper()}" if near else ""
        return Wrong("it must be a number with M or G, as in 512M", better)
    if int(found[1]) * (1024 if found[2] == "G" else 1) < 16:
        return Wrong("an app needs at least 16M")
    return None
