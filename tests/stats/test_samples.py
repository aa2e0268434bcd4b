from __future__ import annotations

import math
import statistics
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from almaflow.stats import PERCENTILE_SAMPLES, not_told_apart, summary

timings = st.lists(st.floats(min_value=1e-6, max_value=1e7), min_size=1, max_size=800)


@given(timings)
def test_the_figures_are_ordered(samples: list[float]) -> None:
    found = summary(samples)
    assert found.min <= found.floor <= found.q1 <= found.median <= found.q3 <= found.max
    assert found.min * (1 - 1e-12) <= found.mean <= found.max * (1 + 1e-12)
    upper = [value for value in (found.median, found.p90, found.p95, found.p99, found.max) if value is not None]
    assert upper == sorted(upper)
    assert found.iqr == pytest.approx(found.q3 - found.q1)


@given(timings, st.floats(min_value=1e-3, max_value=1e3))
def test_another_unit_changes_the_figures_by_its_factor_only(samples: list[float], factor: float) -> None:
    before, after = summary(samples), summary([factor * value for value in samples])
    for name in ("median", "q1", "q3", "mean", "std", "min", "max", "floor", "p90", "p95", "p99"):
        value = getattr(before, name)
        scaled = getattr(after, name)
        if value is None:
            assert scaled is None
        else:
            assert scaled == pytest.approx(factor * value, rel=1e-6, abs=factor * before.max * 1e-9)
    if before.cv is not None:
        assert after.cv == pytest.approx(before.cv, rel=1e-6, abs=1e-9)


@given(timings)
def test_it_agrees_with_numpy_and_the_standard_library(samples: list[float]) -> None:
    found = summary(samples)
    assert found.count == len(samples)
    assert found.median == pytest.approx(statistics.median(samples))
    assert found.mean == pytest.approx(np.mean(samples))
    assert [found.q1, found.q3] == pytest.approx(list(np.percentile(samples, [25, 75])))
    if len(samples) > 1:
        assert found.std == pytest.approx(statistics.stdev(samples), rel=1e-6, abs=found.max * 1e-9)


@given(timings, st.randoms())
def test_the_order_of_the_samples_does_not_matter(samples: list[float], random: object) -> None:
    shuffled = list(samples)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert summary(shuffled) == summary(samples)


@pytest.mark.parametrize(("percent", "count"), [(90, 64), (95, 130), (99, 662)])
def test_a_percentile_appears_at_the_count_that_supports_it(percent: int, count: int) -> None:
    assert getattr(summary(range(1, count)), f"p{percent}") is None
    samples = range(1, count + 1)
    assert getattr(summary(samples), f"p{percent}") == pytest.approx(np.percentile(samples, percent))


@pytest.mark.parametrize("percent", [90, 95, 99])
def test_the_counts_are_the_smallest_with_two_samples_above_at_99_percent_confidence(percent: int) -> None:
    above = 1 - percent / 100
    count = PERCENTILE_SAMPLES[percent]
    assert binom.cdf(1, count, above) <= 0.01 < binom.cdf(1, count - 1, above)


def test_the_floor_is_the_minimum_until_twenty_samples() -> None:
    assert summary(range(1, 20)).floor == 1
    assert summary(range(1, 21)).floor == pytest.approx(1.95)


def test_one_sample_has_no_spread() -> None:
    found = summary([3.0])
    assert (found.median, found.mean, found.floor, found.iqr) == (3.0, 3.0, 3.0, 0.0)
    assert (found.std, found.cv, found.p90) == (None, None, None)


def test_a_clock_that_reads_zero_has_no_relative_spread() -> None:
    assert summary([0.0, 0.0]).cv is None


@pytest.mark.parametrize("samples", [[], [1.0, math.nan], [math.inf], [1.0, -0.1]])
def test_what_is_no_timing_is_refused(samples: list[float]) -> None:
    with pytest.raises(ValueError, match=r"no samples|negative, infinite or not a number"):
        summary(samples)


def test_two_are_told_apart_only_when_a_median_is_outside_the_others_quartiles() -> None:
    narrow, wide = summary([9.9, 10.0, 10.1]), summary([5.0, 10.8, 15.0])
    assert not not_told_apart(narrow, wide)
    assert not not_told_apart(wide, narrow)
    near = summary([9.5, 10.04, 10.5])
    assert not_told_apart(narrow, near)
    assert not_told_apart(near, narrow)


@given(timings, timings)
def test_being_told_apart_is_mutual_and_nothing_is_told_apart_from_itself(one: list[float], other: list[float]) -> None:
    first, second = summary(one), summary(other)
    assert not_told_apart(first, second) == not_told_apart(second, first)
    assert not_told_apart(first, first)


def test_importing_the_rooms_that_only_describe_loads_nothing_heavy() -> None:
    code = (
        "import sys, almaflow.stats, almaflow.predict, almaflow.analysis;"
        "print(sorted({'numpy', 'scipy', 'torch', 'mlflow', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
