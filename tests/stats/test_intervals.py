from __future__ import annotations

import time
from statistics import median

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import binom, norm, quantile_test, rankdata

from almaflow.stats import Interval, hull, independent_draws, intervals, median_interval, series_interval

values = st.lists(st.floats(min_value=1e-3, max_value=1e5), min_size=6, max_size=120)
confidences = st.floats(min_value=0.5, max_value=0.999)
ends = st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)).map(sorted).map(lambda pair: Interval(*pair))

REPETITIONS = 10_000
"""Of each simulation."""

LEAST = int(binom.ppf(0.001, REPETITIONS, 0.95))
"""9432 of 10000: where the true share is 95%, fewer hits come once in a thousand simulations."""


def certain(drawn: list[float], confidence: float = 0.95) -> Interval:
    found = median_interval(drawn, confidence)
    assert found is not None
    return found


@given(values)
def test_the_ends_are_two_of_the_values_with_the_median_between_them(drawn: list[float]) -> None:
    found = certain(drawn)
    assert {found.low, found.high} <= set(drawn)
    assert found.low <= median(drawn) <= found.high
    assert median(drawn) in found


@given(st.lists(st.floats(1e-3, 1e5), max_size=5))
def test_fewer_than_six_values_give_no_interval_at_95_percent(drawn: list[float]) -> None:
    assert median_interval(drawn) is None


def test_six_values_reach_95_percent_from_the_lowest_to_the_highest() -> None:
    assert median_interval([3.0, 1.0, 6.0, 2.0, 5.0, 4.0]) == Interval(1.0, 6.0)
    assert median_interval([3.0, 1.0, 6.0, 2.0, 5.0, 4.0], 0.99) is None


@given(values.filter(lambda drawn: len(drawn) >= 9), st.floats(1e6, 1e300))
def test_from_nine_values_on_the_extremes_are_left_out(drawn: list[float], far: float) -> None:
    ordered = sorted(drawn)
    found = certain(drawn)
    assert found.low >= ordered[1]
    assert found.high <= ordered[-2]
    assert median_interval([-far, *ordered[1:-1], far]) == found


def test_of_nine_values_it_is_the_second_and_the_last_but_one() -> None:
    assert median_interval([9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0]) == Interval(2.0, 8.0)


@given(values, confidences, confidences)
def test_more_confidence_is_never_narrower(drawn: list[float], one: float, other: float) -> None:
    less, more = sorted((one, other))
    wide = median_interval(drawn, more)
    assume(wide is not None)
    assert wide is not None
    narrow = certain(drawn, less)
    assert wide.low <= narrow.low <= narrow.high <= wide.high


@given(values, st.randoms(use_true_random=False), confidences)
def test_the_order_of_the_values_does_not_matter(drawn: list[float], random: object, confidence: float) -> None:
    shuffled = list(drawn)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert median_interval(shuffled, confidence) == median_interval(drawn, confidence)


@given(values, st.integers(-20, 20), confidences)
def test_another_unit_changes_it_by_its_factor(drawn: list[float], power: int, confidence: float) -> None:
    factor = 2.0**power  # exact in binary
    before, after = median_interval(drawn, confidence), median_interval([factor * each for each in drawn], confidence)
    assert after == (None if before is None else Interval(factor * before.low, factor * before.high))


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_it_is_the_narrowest_symmetric_pair_of_ranks_that_holds_the_median_so_often(confidence: float) -> None:
    """Exact, for draws of any continuous distribution: how many lie below the true median is binomial."""
    for count in range(1, 121):
        found = median_interval(list(map(float, range(count))), confidence)
        if found is None:
            assert 1 - 2 * binom.cdf(0, count, 0.5) < confidence
            continue
        rank = int(found.low)
        assert found.high == count - 1 - rank
        assert 1 - 2 * binom.cdf(rank, count, 0.5) >= confidence
        assert 1 - 2 * binom.cdf(rank + 1, count, 0.5) < confidence


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_the_ends_are_those_of_scipys_quantile_test(confidence: float) -> None:
    for count in (*range(1, 200), 999, 10_000, 100_001):
        expected = quantile_test(range(count), p=0.5).confidence_interval(confidence)
        found = intervals._ranks(count, confidence)
        assert found == ((expected.low, expected.high) if np.isfinite(expected.low) else None), count


@given(st.lists(st.integers(0, 9).map(float) | st.floats(0, 9), min_size=6, max_size=60))
def test_values_count_by_their_ranks_and_equal_ones_share_theirs(drawn: list[float]) -> None:
    assert independent_draws(drawn) == independent_draws(rankdata(drawn).tolist())
    ranks = rankdata(drawn) - (len(drawn) + 1) / 2
    variation = float(ranks @ ranks)
    assume(variation)
    estimate = (len(drawn) * float(ranks[1:] @ ranks[:-1]) / variation + 1) / (len(drawn) - 4)
    correlation = min(max(estimate, 0.0), 1.0)
    assert independent_draws(drawn) == max(2, round(len(drawn) * (1 - correlation) / (1 + correlation)))


def normal(random: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, float]:
    return random.normal(10.0, 2.0, shape), 10.0


def exponential(random: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, float]:
    return random.exponential(1.0, shape), float(np.log(2))


def bimodal(random: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, float]:
    """Three rounds of five on a quick machine, two on one that takes twice as long."""
    slow = random.random(shape) >= 0.6
    return random.normal(10.0, 0.1, shape) * np.where(slow, 2.0, 1.0), 10.0 + 0.1 * float(norm.ppf(0.5 / 0.6))


@pytest.mark.parametrize("count", [9, 20, 50])
@pytest.mark.parametrize("draw", [normal, exponential, bimodal])
def test_it_holds_the_true_median_in_95_percent_of_simulations(draw: object, count: int) -> None:
    drawn, true = draw(np.random.default_rng(count), (REPETITIONS, count))  # type: ignore[operator]
    held = sum(true in certain(each) for each in drawn.tolist())
    assert held >= LEAST


def test_an_interval_costs_microseconds_since_one_is_drawn_for_each_worker_at_each_turn() -> None:
    drawn = np.random.default_rng(0).normal(10.0, 1.0, (2000, 50)).tolist()
    median_interval(drawn[0])  # scipy is imported, which is paid for once
    began = time.perf_counter()
    for each in drawn:
        median_interval(each)
    # About 5 us each here; through scipy each time it is 1 ms.
    assert time.perf_counter() - began < 0.6


@given(st.lists(ends, min_size=1, max_size=8))
def test_the_hull_holds_all_of_them_and_no_more(several: list[Interval]) -> None:
    found = hull(several)
    assert found is not None
    assert all(each.low in found and each.high in found for each in several)
    assert found.low in {each.low for each in several}
    assert found.high in {each.high for each in several}


def test_the_hull_is_not_known_where_one_of_them_is_not() -> None:
    assert hull([]) is None
    assert hull([None]) is None
    assert hull([Interval(1.0, 2.0), None]) is None


@given(ends, ends)
def test_two_overlap_where_they_have_a_point_in_common(one: Interval, other: Interval) -> None:
    common = max(one.low, other.low)
    assert one.overlaps(other) == other.overlaps(one) == (common in one and common in other)


def test_intervals_that_touch_overlap_and_hold_their_ends() -> None:
    assert Interval(1.0, 2.0).overlaps(Interval(2.0, 3.0))
    assert not Interval(1.0, 2.0).overlaps(Interval(2.5, 3.0))
    assert Interval(0.0, 9.0).overlaps(Interval(4.0, 5.0))
    assert [value in Interval(1.0, 2.0) for value in (0.9, 1.0, 1.5, 2.0, 2.1)] == [False, True, True, True, False]
    assert Interval(1.0, 4.0).half_width == 1.5


@given(values)
def test_the_interval_of_a_series_is_never_narrower_and_its_ends_are_values_too(drawn: list[float]) -> None:
    found, independent = series_interval(drawn), certain(drawn)
    assert found
    assert {found.low, found.high} <= set(drawn)
    assert found.low <= independent.low
    assert found.high >= independent.high


@given(st.lists(st.floats(1e-3, 1e5), max_size=5))
def test_a_series_of_fewer_than_six_has_none(drawn: list[float]) -> None:
    assert series_interval(drawn) is None


def test_a_series_that_goes_up_and_down_counts_in_full_and_one_that_only_rises_hardly() -> None:
    up_and_down = [1.0, 12.0, 2.0, 11.0, 3.0, 10.0, 4.0, 9.0, 5.0, 8.0, 6.0, 7.0]
    assert independent_draws(up_and_down) == 12
    assert series_interval(up_and_down) == median_interval(up_and_down) == Interval(3.0, 10.0)
    assert independent_draws(sorted(up_and_down)) == 2
    assert series_interval(sorted(up_and_down)) == Interval(1.0, 12.0)
    assert independent_draws([5.0] * 12) == 12
    assert series_interval([5.0] * 12) == Interval(5.0, 5.0)


def test_one_outlier_does_not_hide_that_neighbours_are_alike() -> None:
    slow_then_fast = [10.0, 10.1, 10.2, 10.1, 10.3, 10.2, 12.1, 12.0, 12.2, 12.3, 12.1, 12.2]
    spoilt = [*slow_then_fast[:3], 500.0, *slow_then_fast[4:]]
    assert independent_draws(slow_then_fast) <= 3
    assert independent_draws(spoilt) <= 6


@pytest.mark.parametrize(
    ("correlation", "count", "alone", "as_series"),
    [(0.0, 20, 0.95, 0.95), (0.3, 20, 0.89, 0.95), (0.6, 20, 0.77, 0.89), (0.6, 40, 0.75, 0.92), (0.8, 40, 0.58, 0.83)],
)
def test_rounds_that_are_alike_are_held_more_often_by_the_interval_of_a_series(
    correlation: float, count: int, alone: float, as_series: float
) -> None:
    """Of 2000 autoregressive series of the first order with normal noise."""
    random = np.random.default_rng(11)
    held = {median_interval: 0, series_interval: 0}
    for _ in range(2000):
        noise = random.standard_normal(count) * (1 - correlation**2) ** 0.5
        series = [random.standard_normal()]
        for each in noise[1:]:
            series.append(correlation * series[-1] + each)
        for interval in held:
            held[interval] += 0.0 in (interval(series) or Interval(1.0, 1.0))
    assert held[median_interval] / 2000 == pytest.approx(alone, abs=0.03)
    assert held[series_interval] / 2000 >= as_series - 0.03


def test_its_ends_are_within_the_series_for_every_length_and_number_of_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    for count in range(6, 121):
        series = [float(value) for value in range(count)]
        for draws in range(2, count + 1):
            monkeypatch.setattr(intervals, "independent_draws", lambda _, draws=draws: draws)
            found = series_interval(series)
            assert found
            assert found.low + found.high == pytest.approx(count - 1, abs=1)
            assert 0 <= found.low <= found.high <= count - 1
            if draws < 6:
                assert found == Interval(0.0, count - 1.0)
