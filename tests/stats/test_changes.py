"""Steps in made series: what is found, where, and how often where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import median_filter

from almaflow.stats import steps
from almaflow.stats.changes import FAR, WINDOW, _spread, settled

finite = st.floats(-1e3, 1e3, allow_nan=False)


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(count)


@pytest.mark.parametrize("count", [6, 10, 40, 400])
@pytest.mark.parametrize("place", [3, "half", -3])
def test_a_clear_step_is_found_where_it_is(count: int, place: int | str) -> None:
    at = count // 2 if place == "half" else int(place) % count
    values = 0.01 * noise(count)
    values[at:] += 1
    (found,) = steps(values)
    assert found.at == at
    assert found.before == pytest.approx(0, abs=0.05)
    assert found.after == pytest.approx(1, abs=0.05)
    assert found.p_value < 0.001


def test_a_level_that_changes_back_is_two_steps() -> None:
    values = 0.02 * noise(60)
    values[25:35] += 1
    assert [each.at for each in steps(values)] == [25, 35]


def test_several_levels() -> None:
    values = 0.02 * noise(100) + np.repeat([0.0, 0.5, 0.2, 1.0], 25)
    assert [each.at for each in steps(values)] == [25, 50, 75]


@pytest.mark.parametrize("where", [0, 7, 19])
def test_one_figure_far_away_is_no_step(where: int) -> None:
    values = 0.01 * noise(20)
    values[where] += 5
    assert steps(values) == []
    assert abs(settled(values)[where]) < 0.1


@pytest.mark.parametrize("count", [20, 21, 100])
def test_figures_are_held_to_the_median_of_five(count: int) -> None:
    values = np.random.default_rng(count).standard_t(2, count)
    medians, far = median_filter(values, WINDOW, mode="mirror"), FAR * _spread(np.diff(values)) / 2**0.5
    assert settled(values).tolist() == np.clip(values, medians - far, medians + far).tolist()


@pytest.mark.parametrize("count", range(6))
def test_too_short_for_a_step(count: int) -> None:
    assert steps([1.0] * (count // 2) + [100.0] * (count - count // 2)) == []


@pytest.mark.parametrize("count", [6, 10, 12, 20, 50])
def test_false_alarms_are_no_more_than_stated(count: int) -> None:
    """Of two thousand series at one in a hundred: 20 are expected at most, and 34 are exceeded once in a thousand."""
    draw = np.random.default_rng(count)
    assert sum(bool(steps(draw.standard_normal(count), 0.01)) for _ in range(2000)) <= 34


def test_nights_that_are_alike_are_seldom_taken_for_a_step() -> None:
    """Neighbours with a correlation of a half: without a correction, one series in five has a step."""
    draw, found = np.random.default_rng(5), 0
    for _ in range(300):
        values = draw.standard_normal(100)
        for index in range(1, 100):
            values[index] = 0.5 * values[index - 1] + 0.75**0.5 * values[index]
        found += bool(steps(values))
    assert found <= 20


@given(st.lists(finite, max_size=40), st.floats(0.1, 100), finite)
def test_neither_unit_nor_origin_matter(values: list[float], unit: float, origin: float) -> None:
    rounded = np.round(values, 3)
    assert [each.at for each in steps(rounded)] == [each.at for each in steps(rounded * unit + origin)] or np.ptp(
        rounded
    ) < 1e-6 * max(1.0, float(np.max(np.abs(rounded), initial=0)))


@given(st.lists(finite, max_size=60))
def test_whatever_comes_parts_have_three_figures_at_least(values: list[float]) -> None:
    found = steps(values)
    ends = [0, *(each.at for each in found), len(values)]
    assert not found or min(np.diff(ends)) >= 3
    assert all(0 <= each.p_value <= 0.001 for each in found)


def test_figures_that_are_all_equal_have_no_step() -> None:
    assert steps([3.0] * 50) == []
    (found,) = steps([3.0] * 10 + [4.0] * 10)
    assert found.at == 10
