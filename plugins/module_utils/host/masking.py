"""Secrets that no message may show: what stands in their place, from which length on, and in which forms they are found."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

#: What stands in the place of a secret.
MASK = "********"

#: Characters of a secret that is masked. Hiding shorter ones would garble the messages, and they are no secrets.
SHORTEST_HIDDEN = 4

#: Every form of the secrets; see `hide`.
_hidden: set[str] = set()


def forms(values: Iterable[str]) -> set[str]:
    """How *values* may stand in a text: whole, line by line, and as Python and JSON quote them; those that are masked."""
    found = {
        form
        for value in values
        for text in (value, *value.splitlines())
        for form in (
            text,
            repr(text)[1:-1],
            json.dumps(text)[1:-1],
            json.dumps(text, ensure_ascii=False)[1:-1],
        )
    }
    return {form for form in found if len(form.strip()) >= SHORTEST_HIDDEN}


def hide(values: Iterable[str]) -> None:
    """From now on `hidden` masks *values*, in all of their `forms`."""
    _hidden.update(forms(values))


def longest() -> int:
    """Bytes of the longest text that is masked; 0 where there is none."""
    return max((len(form.encode(errors="surrogatepass")) for form in tuple(_hidden)), default=0)


def hidden(text: str, start: int = 0) -> str:
    """*text* from *start* on, with asterisks in the place of what `hide` was told.

    A secret that begins before *start* and ends after it is masked whole: cut first, its rest would not be recognised.
    """
    shown, at = [], start
    for begin, end in _spans(text):
        if end > start:
            shown += [text[at : max(begin, at)], MASK]
            at = end
    return "".join([*shown, text[at:]])


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where secrets stand in *text*, in order; those that overlap are one."""
    found = sorted(place for form in tuple(_hidden) for place in _places(text, form))
    while found:
        begin, end = found.pop(0)
        while found and found[0][0] < end:
            end = max(end, found.pop(0)[1])
        yield begin, end


def _places(text: str, form: str) -> Iterator[tuple[int, int]]:
    begin = text.find(form)
    while begin >= 0:
        yield begin, begin + len(form)
        begin = text.find(form, begin + 1)
