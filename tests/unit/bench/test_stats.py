from __future__ import annotations

import pytest

from bench import stats
from bench.stats import Spread


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0], Spread(3, 3, 3)),
        ([1.0, 3.0], Spread(2, 1.5, 2.5)),
        ([5.0, 1.0, 4.0, 2.0, 3.0], Spread(3, 2, 4)),
        # One disturbed run moves neither the median nor the quartiles far.
        ([10.0, 10.0, 10.0, 10.0, 900.0], Spread(10, 10, 10)),
    ],
)
def test_a_series_is_its_median_and_quartiles(values, expected):
    assert stats.spread(values) == expected


def test_ratios_are_taken_round_by_round():
    """The third round was disturbed, and both were slow in it: the ratio of the medians would be 0.5, too, by luck alone."""
    assert stats.ratio([50.0, 60.0, 5.0], [100.0, 100.0, 10.0]) == Spread(0.5, 0.5, 0.55)


def test_rounds_that_do_not_fit_are_no_ratio():
    with pytest.raises(ValueError, match="zip"):
        stats.ratio([1.0, 2.0], [1.0])


def test_every_variant_has_every_place_in_turn():
    rounds = [stats.turn(["a", "b", "c"], number) for number in range(3)]
    assert rounds == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"]]
    assert stats.turn(["a", "b", "c"], 3) == rounds[0]


def test_growth_is_what_one_more_costs():
    assert stats.growth({10: 4.0, 1: 3.1, 100: 13.0}) == pytest.approx(0.1)
