"""Summaries of errors, against what they are by definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from almaflow.stats import error_summary, paired, summary_over, trend

errors = st.lists(st.floats(-500, 500, allow_nan=False), min_size=1, max_size=50)


@given(errors)
def test_figures_by_their_definition(values: list[float]) -> None:
    found = error_summary(values)
    assert found.count == len(values)
    assert found.signed.value == pytest.approx(np.mean(values))
    assert found.mean_abs.value == pytest.approx(np.mean(np.abs(values)))
    assert found.median_abs.value == pytest.approx(np.median(np.abs(values)))
    assert found.within.value == np.mean(np.abs(values) <= 10)
    for figure in (found.signed, found.mean_abs, found.median_abs, found.within):
        assert figure.interval is None or figure.interval.low - 1e-9 <= figure.value <= figure.interval.high + 1e-9
    assert found.mean_abs.interval is None or found.mean_abs.interval.low >= 0


@given(errors)
def test_a_share_has_wilsons_interval(values: list[float]) -> None:
    found = error_summary(values).within
    share = stats.binomtest(sum(abs(each) <= 10 for each in values), len(values))
    expected = share.proportion_ci(0.95, method="wilson")
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == (expected.low, expected.high)


@given(st.lists(st.tuples(st.integers(-3, 3).map(float), st.integers(0, 40).map(float)), min_size=6, max_size=30))
def test_a_trend_is_sens_slope(points: list[tuple[float, float]]) -> None:
    """Also where values or times are equal."""
    values, at = zip(*points, strict=True)
    found = trend(values, at)
    if found is None:
        assert len(set(at)) == 1
        return
    with np.errstate(invalid="ignore"):
        expected = stats.theilslopes(values, at, alpha=0.95)
    assert found.interval is not None
    assert found.value == expected.slope
    if not np.isnan(expected.low_slope):
        assert [found.interval.low, found.interval.high] == [expected.low_slope, expected.high_slope]


def test_the_mean_has_students_interval() -> None:
    values = [1.0, 2.0, 4.0, 8.0]
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    found = error_summary(values).signed.interval
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_intervals_hold_as_often_as_they_say() -> None:
    draw = np.random.default_rng(3)
    held = [
        0 in interval
        for _ in range(1000)
        if (interval := error_summary(draw.standard_normal(8).tolist()).signed.interval)
    ]
    assert 0.93 < np.mean(held) < 0.97


def test_each_series_counts_once_however_long() -> None:
    found = summary_over([error_summary([20.0] * 90), error_summary([-5.0] * 10)])
    assert (found.count, found.signed.value, found.mean_abs.value) == (100, 7.5, 12.5)
    assert found.within.value == 0.5


def test_a_trend_is_the_slope() -> None:
    found = trend([1.0, 3.0, 5.0, 7.0, 9.0, 11.0], [0, 1, 2, 3, 4, 5])
    assert found is not None
    assert found.value == pytest.approx(2)
    assert trend([1.0] * 5, range(5)) is None
    assert trend([1.0] * 8, [3.0] * 8) is None


def test_two_predictors_are_compared_by_pairs() -> None:
    first = [5.0, 6, 7, 8, 9, 10, 11]
    found = paired(first, [each + 2 for each in first])
    assert found.pairs == 7
    assert found.difference.value == pytest.approx(-2)
    assert found.p_value == pytest.approx(2 / 2**7)
    assert paired([1.0], [2.0]).p_value is None
    assert paired(first, first).p_value == 1.0
