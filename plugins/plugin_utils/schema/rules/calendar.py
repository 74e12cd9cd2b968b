"""Calendar expressions of systemd (man systemd.time), as `OnCalendar=` takes them.

Written out here because a controller need not have systemd, or has another version than its hosts: the form and the numbers
are judged before a run, and the host's own systemd judges the rest (names of time zones, days that a month lacks) before it
builds anything.
"""

from __future__ import annotations

import re

from ....module_utils.values.texts import Wrong

WORDS = (
    *("minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "yearly", "annually"),
    *("semiannually", "semi-annually", "biannually", "bi-annually"),
)
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_DAY = "(?:" + "|".join(f"{day[:3]}(?:{day[3:]})?" for day in DAYS) + ")"
_DAYS = rf"{_DAY}(?:(?:,|\.\.|-){_DAY})*,?"
_PART = r"[0-9*.,/]+"
_DATE = rf"(?:{_PART}-)?{_PART}[-~]{_PART}"
_TIME = rf"{_PART}:{_PART}(?::{_PART})?"
_ZONE = r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}"

_EXPRESSION = re.compile(
    rf"(?i:(?P<word>{'|'.join(WORDS)})|(?P<epoch>@[0-9]{{1,18}})"
    rf"|(?=.)(?P<days>{_DAYS}(?: +|$))?(?P<date>{_DATE}(?: +|$))?(?P<time>{_TIME}(?: +|$))?(?<! ))"
)
_INTERVAL = re.compile(r"[0-9]+[smhd]")

#: Least and greatest value of the parts of a date and of a time, from the last one on.
_OF_DATE = ((1, 31), (1, 12), (0, 2199))
_OF_TIME = ((0, 23), (0, 59), (0, 59))


def calendar(text: str) -> Wrong | None:
    expression, _, zone = text.rpartition(" ")
    is_zone = re.fullmatch(_ZONE, zone) and not re.fullmatch(f"(?i:{_DAYS}|{'|'.join(WORDS)})", zone)
    if not expression or not is_zone:
        expression = text
    found = _EXPRESSION.fullmatch(expression)
    if found and (wrong := _wrong_number(found)) is None:
        return None
    reason = 'it must be a time, as in "03:00", or a calendar expression of systemd, as in "Mon..Fri 18:30"'
    if found:
        return Wrong(f"{wrong}; {reason}")
    if _INTERVAL.fullmatch(text):
        return Wrong("this is an interval; use `every` instead")
    if re.fullmatch(r"[-0-9*/,]+( [-0-9*/,]+){4}", text):
        return Wrong(f"this is a cron expression; {reason}")
    return Wrong(reason)


def _wrong_number(found: re.Match[str]) -> str | None:
    """Which part of an expression of the right form cannot be; None where each can."""
    days, date, time = (str(found[name] or "").strip() for name in ("days", "date", "time"))
    if day := _wrong_days(days.lower()):
        return day
    if date:
        parts = re.split("[-~]", date)
        for part, (least, greatest) in zip(reversed(parts), _OF_DATE, strict=False):
            if wrong := _wrong_part(part, least, greatest):
                return wrong
    if time:
        for part, (least, greatest) in zip(time.split(":"), _OF_TIME, strict=False):
            if wrong := _wrong_part(part, least, greatest):
                return wrong
    return None


def _wrong_days(text: str) -> str | None:
    for item in filter(None, text.split(",")):
        numbers = [[day[:3] for day in DAYS].index(day[:3]) for day in re.split(r"\.\.|-", item)]
        if len(numbers) > 2 or numbers != sorted(numbers):
            return f"{item} is not a range from one day of the week to a later one"
    return None


def _wrong_part(text: str, least: int, greatest: int) -> str | None:
    """One of the parts between `-` or `:`: `*`, or a list of `3`, `1..5`, `0/15` and `9..17/2`."""
    if text == "*":
        return None
    for item in text.split(","):
        number = r"[0-9]{1,9}(?:\.[0-9]{1,6})?"
        form = re.fullmatch(rf"({number})(?:\.\.({number}))?(?:/({number}))?", item)
        if not form:
            return f"{item or text} is not a number, a range as in 1..5, or a repetition as in 0/15"
        first, last = float(form[1]), float(form[2] or form[1])
        if not least <= first <= last < greatest + 1:
            return f"{item} is not within {least} and {greatest}"
        if form[3] and (float(form[3]) == 0 or first + float(form[3]) >= (last if form[2] else greatest) + 1):
            return f"{item} repeats nothing"
    return None
