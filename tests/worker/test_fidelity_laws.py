"""Laws of the comparison that hold for any output: order of samples, noise, scale, and lost channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from almaflow.worker.fidelity import TOLERANCE_DB, TOLERANCE_OTHER_DB, compare

if TYPE_CHECKING:
    from torch import Tensor

pytestmark = pytest.mark.slow  # importing torch takes seconds

CLOSE = 0.1
"""Decibels from the tolerance within which the last bit may decide."""
DTYPES = st.sampled_from([*TOLERANCE_DB, "int4"])
MARGINS = st.floats(-9.0, 40.0).filter(lambda margin: abs(margin) > CLOSE)
SEEDS = st.integers(0, 2**31)


def answer(seed: int, rows: int, channels: int, width: int) -> Tensor:
    import torch

    return torch.randn(rows, channels, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def noisy(ref: Tensor, below_db: float, seed: int) -> Tensor:
    import torch

    noise = torch.randn(ref.shape, dtype=ref.dtype, generator=torch.Generator().manual_seed(seed))
    strength = float(ref.norm() / noise.norm()) * 10 ** (-below_db / 20)
    return ref + noise * strength


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, dtype=DTYPES, rows=st.integers(2, 9), margin=MARGINS)
def test_samples_in_another_order_on_both_sides_keep_the_verdict(
    seed: int, dtype: str, rows: int, margin: float
) -> None:
    import torch

    ref = answer(seed, rows, 5, 16)
    out = noisy(ref, TOLERANCE_DB.get(dtype, TOLERANCE_OTHER_DB) + margin, seed + 1)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed + 2))
    before, after = compare([[ref]], [[out]], dtype), compare([[ref[order]]], [[out[order]]], dtype)
    assert before.ok == after.ok
    assert before.sqnr_db == pytest.approx(after.sqnr_db)


@settings(max_examples=50, deadline=None)
@given(
    seed=SEEDS,
    dtype=DTYPES,
    rows=st.integers(1, 9),
    channels=st.integers(1, 16),
    width=st.integers(1, 40),
    margin=st.floats(3.0, 60.0),
)
def test_noise_below_the_tolerance_passes(
    seed: int, dtype: str, rows: int, channels: int, width: int, margin: float
) -> None:
    ref = answer(seed, rows, channels, width)
    out = noisy(ref, TOLERANCE_DB.get(dtype, TOLERANCE_OTHER_DB) + margin, seed + 1)
    found = compare([[ref]], [[out]], dtype)
    assert found.ok, found.reason


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, dtype=DTYPES, exponent=st.integers(-40, 40), margin=MARGINS)
def test_both_sides_scaled_keep_the_verdict(seed: int, dtype: str, exponent: int, margin: float) -> None:
    ref = answer(seed, 4, 6, 16)
    out = noisy(ref, TOLERANCE_DB.get(dtype, TOLERANCE_OTHER_DB) + margin, seed + 1)
    scale = 2.0**exponent
    before, after = compare([[ref]], [[out]], dtype), compare([[scale * ref]], [[scale * out]], dtype)
    assert before.ok == after.ok
    assert before.sqnr_db == pytest.approx(after.sqnr_db, abs=1e-3)


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, dtype=DTYPES, channels=st.integers(2, 64), data=st.data())
def test_any_one_channel_with_signal_that_is_lost_is_found(
    seed: int, dtype: str, channels: int, data: st.DataObject
) -> None:
    lost = data.draw(st.integers(0, channels - 1))
    ref = answer(seed, 4, channels, 32)
    out = noisy(ref, TOLERANCE_DB.get(dtype, TOLERANCE_OTHER_DB) + 6, seed + 1)
    out[:, lost] = 0
    assert not compare([[ref]], [[out]], dtype).ok
