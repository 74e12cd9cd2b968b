"""What an app may put into a text that goes to an operator: bounded, without secrets, and harmless to a terminal.

An app's build, its log, its answers and the names of its files are untrusted: they may be endless, no UTF-8, or written
to take over the terminal that shows them.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from . import credentials, masking

#: Bytes of a command's output that are kept: its last ones.
KEPT_BYTES = 64 * 1024

#: Characters of a log or of an output in an error message.
SHOWN_CHARACTERS = 16 * 1024

#: Sequences of terminals (ECMA-48): CSI, the strings OSC, DCS, SOS, PM and APC, and the short ones.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-Z\\`-~]"
)

#: C0 but tab and newline, DEL, C1; what turns the direction of a text around; surrogates, which no UTF-8 can hold.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

REPLACEMENT = "\ufffd"


def clean(text: str) -> str:
    """*text* without what a terminal would act on: sequences go, other control characters become U+FFFD."""
    text = _SEQUENCE.sub("", text)
    return _CONTROL.sub(REPLACEMENT, text.replace("\r\n", "\n").replace("\r", "\n"))


def shown(text: str, start: int = 0) -> str:
    """*text* from *start* on as messages show it: secrets and passwords in URLs masked, then `clean`."""
    # Once more after it: what was taken out may have stood in the middle of a secret.
    return credentials.masked(masking.hidden(clean(masking.hidden(text, start))))


def printable(value: Any) -> Any:
    """The result of a module with every text in it `clean`, keys included."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {printable(key): printable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [printable(one) for one in value]
    return value


def last(text: str, characters: int = SHOWN_CHARACTERS) -> str:
    """The end of *text*, whole lines where there is more than one. What it cuts must have been masked before."""
    if len(text) <= characters:
        return text
    kept = text[-characters:]
    return kept.partition("\n")[2] or kept


class Tail:
    """The last *limit* bytes of what is added, however much that is."""

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self.limit = limit
        # So much more that no secret is cut before it is masked.
        self._margin = masking.longest()
        self._parts: deque[bytes] = deque()
        self._kept = 0
        self.total = 0

    def add(self, part: bytes) -> None:
        self._parts.append(part)
        self._kept += len(part)
        self.total += len(part)
        while self._kept - len(self._parts[0]) >= self.limit + self._margin:
            self._kept -= len(self._parts.popleft())

    @property
    def left_out(self) -> int:
        """How many bytes came before those that are kept."""
        return max(self.total - self.limit, 0)

    def text(self) -> str:
        """What is kept, as messages show it."""
        kept = b"".join(self._parts)
        before = kept[: max(len(kept) - self.limit, 0)]
        # What both parts decode to is what the whole does, but for a character in the middle of the cut.
        start = len(before.decode(errors="replace"))
        return shown(kept.decode(errors="replace"), start)


class TooMuch(Exception):
    """A command printed more than was asked of it."""


class Whole:
    """All that is added, up to *limit* bytes. Raises TooMuch."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._content = bytearray()

    def add(self, part: bytes) -> None:
        if len(self._content) + len(part) > self.limit:
            raise TooMuch(f"it printed more than {self.limit} bytes")
        self._content += part

    def text(self) -> str:
        """Untouched; bytes that are no UTF-8 are surrogates, as `os.fsdecode` makes them."""
        return self._content.decode(errors="surrogateescape")
