"""Medians, spread and ratios of interleaved runs. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """What a series of runs says: the median, and the quartiles around it."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of *values*, of which there is at least one."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(middle, low, high)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Ours over theirs, round by round: what disturbed a whole round disturbed both.

    Raises ValueError when the rounds are not the same.
    """
    return spread([one / other for one, other in zip(ours, theirs, strict=True)])


def turn(names: Sequence[str], number: int) -> list[str]:
    """The order of round *number*: each variant comes first, in the middle and last equally often."""
    start = number % len(names)
    return [*names[start:], *names[:start]]


def growth(seconds: Mapping[int, float]) -> float:
    """What one more (app, host) costs, between the fewest and the most that were measured."""
    few, many = min(seconds), max(seconds)
    return (seconds[many] - seconds[few]) / (many - few)
