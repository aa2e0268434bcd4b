"""What operators take longer in a model than alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almaflow.worker.operators.chain_fit import LEAST_DEVIATION, scale_of

RATIOS = st.lists(st.floats(0.5, 2.0), min_size=2, max_size=8)


@given(RATIOS)
def test_the_scale_lies_among_the_chains_and_no_sum_is_known_better_than_a_floor(ratios: list[float]) -> None:
    found = scale_of(ratios)
    assert min(ratios) <= found["scale"] * (1 + 1e-9)
    assert found["scale"] <= max(ratios) * (1 + 1e-9)
    assert found["deviation"] >= LEAST_DEVIATION


@given(RATIOS, st.floats(0.5, 2.0))
def test_a_machine_on_which_all_takes_longer_has_the_same_deviation(ratios: list[float], factor: float) -> None:
    one, other = scale_of(ratios), scale_of([factor * each for each in ratios])
    assert other["scale"] == pytest.approx(factor * one["scale"])
    assert other["deviation"] == pytest.approx(one["deviation"])


def test_chains_that_are_apart_are_told() -> None:
    assert scale_of([0.9, 1.1]) == pytest.approx({"scale": 1.0, "deviation": 0.1414}, abs=1e-4)
