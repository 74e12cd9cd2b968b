"""What an app wrote to its log, as a failure shows it: without lines of probes, each thing once, its traceback whole."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Lines beside the traceback.
LINES = 30
#: The end of a traceback says what is wrong; what comes before is the way there.
TRACEBACK_LINES = 60

#: uWSGI's line about a request that failed: the message has its path and status already.
_REQUEST = re.compile(r"\[pid: \d+\|app: [^]]*\] .*=> generated \d+ bytes in \d+ msecs")
_TRACEBACK = "Traceback (most recent call last):"
#: Between the tracebacks of one exception.
_CHAIN = ("During handling of the above exception", "The above exception was the direct cause")
#: What differs between two lines about the same thing.
_VARIES = re.compile(r"0x[0-9a-f]+|\d+")


def shown(lines: Sequence[str]) -> list[str]:
    """Those of *lines* that tell why the app does not answer, in their order."""
    parts = _parts([line for line in lines if not _REQUEST.match(line)])
    # Of what was said several times, the last.
    latest = {_VARIES.sub("0", "\n".join(part)): number for number, part in enumerate(parts)}
    numbers = sorted(latest.values())
    traceback = max((number for number in numbers if parts[number][0].endswith(_TRACEBACK)), default=None)
    kept, left = set() if traceback is None else {traceback}, LINES
    for number in reversed(numbers):
        if number not in kept:
            left -= len(parts[number])
            if left < 0:
                break
            kept.add(number)
    return [line for number in sorted(kept) for line in parts[number][-TRACEBACK_LINES:]]


def has_traceback(lines: Sequence[str]) -> bool:
    return any(line.endswith(_TRACEBACK) for line in lines)


def _parts(lines: Sequence[str]) -> list[list[str]]:
    """*lines*, where a traceback, with those that it is chained to, is one part, and any other line is."""
    parts: list[list[str]] = []
    inside = chained = False
    for line in lines:
        begins = line.endswith(_TRACEBACK)
        if inside or (chained and (begins or not line.strip() or line.startswith(_CHAIN))):
            parts[-1].append(line)
            # The line of the exception ends it.
            inside, chained = begins or (inside and line.startswith((" ", "\t"))), True
        else:
            parts.append([line])
            inside, chained = begins, False
    return [part for part in parts if any(line.strip() for line in part)]
