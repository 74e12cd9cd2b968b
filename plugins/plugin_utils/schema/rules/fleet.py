"""What an app says of a deploy over several hosts."""

from __future__ import annotations

import re

from ....module_utils.values.texts import Wrong


def percentage(text: str) -> Wrong | None:
    if re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,2})?%", text):
        return None
    number = re.fullmatch(r"\s*([0-9]{1,2}(?:\.[0-9]{1,2})?)\s*(%|percent)?\s*", text)
    return Wrong("it must be a number below 100 with %, as in 0.5%", f"{number[1]}%" if number else "")
