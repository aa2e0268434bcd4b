"""What counts as the same answer as eager's, and what is caught."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almaflow.records import to_dict, write_json
from almaflow.worker.fidelity import IDENTICAL_DB, LEAST_CORRELATION_OTHER, TOLERANCE_DB, arithmetic, compare

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

pytestmark = pytest.mark.slow  # importing torch takes seconds

LOSSY = ("float16", "bfloat16", "int8", "int4", "float8_e4m3fn")


def answers(calls: int = 4, rows: int = 2, classes: int = 50, seed: int = 0, scale: float = 1.0) -> list[list[Tensor]]:
    """The logits of some calls, one output each."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    return [[scale * torch.randn(rows, classes, generator=generator)] for _ in range(calls)]


def with_noise(reference: list[list[Tensor]], sqnr_db: float, seed: int = 1) -> list[list[Tensor]]:
    """The reference with noise of exactly this strength."""
    import torch

    flat = torch.cat([tensor.flatten().double() for call in reference for tensor in call])
    noise = torch.randn(len(flat), generator=torch.Generator().manual_seed(seed)).double()
    noise *= flat.norm() / noise.norm() * 10 ** (-sqnr_db / 20)
    parts = iter(torch.split(flat + noise, [tensor.numel() for call in reference for tensor in call]))
    return [[next(parts).reshape(tensor.shape) for tensor in call] for call in reference]


@pytest.mark.parametrize("dtype", ["float32", *LOSSY])
def test_an_identical_answer_is_as_good_as_it_gets(dtype: str) -> None:
    found = compare(answers(), answers(), dtype)
    assert found.ok
    assert found.reason is None
    assert (found.sqnr_db, found.max_abs_diff) == (IDENTICAL_DB, 0.0)
    assert found.cosine == pytest.approx(1.0)
    assert found.top1_agreement == 1.0
    assert found.rows == 8


@given(sqnr_db=st.floats(0.0, 90.0), scale=st.floats(1e-6, 1e6))
def test_noise_of_a_known_strength_is_read_back(sqnr_db: float, scale: float) -> None:
    reference = answers(scale=scale)
    found = compare(reference, with_noise(reference, sqnr_db), "float32")
    assert found.sqnr_db == pytest.approx(sqnr_db, abs=0.01)
    assert found.ok == (sqnr_db > TOLERANCE_DB["float32"]) or abs(sqnr_db - TOLERANCE_DB["float32"]) < 0.1


@pytest.mark.parametrize("dtype", ["float32", *LOSSY])
def test_each_arithmetic_has_its_tolerance(dtype: str) -> None:
    tolerance = compare(answers(), answers(), dtype).tolerance_db
    assert compare(answers(), with_noise(answers(), tolerance + 1), dtype).ok
    refused = compare(answers(), with_noise(answers(), tolerance - 1), dtype)
    assert not refused.ok
    assert refused.reason is not None
    assert f"{tolerance:g} dB asked of {dtype}" in refused.reason


@pytest.mark.parametrize("dtype", ["float32", *LOSSY])
def test_a_conversion_that_ignores_its_input_is_caught_though_its_sqnr_is_high(dtype: str) -> None:
    import torch

    constant = 100 * torch.randn(1, 500, generator=torch.Generator().manual_seed(2))
    reference = [[constant + varying] for (varying,) in answers(rows=1, classes=500, scale=0.01)]
    found = compare(reference, [reference[0]] * 4, dtype)
    assert found.sqnr_db > TOLERANCE_DB["float32"]
    assert not found.ok
    assert found.reason is not None
    assert "what differs between inputs" in found.reason
    assert compare(reference, with_noise(reference, 100.0), dtype).ok


@pytest.mark.parametrize("dtype", ["float32", *LOSSY])
@pytest.mark.parametrize("garble", ["classes", "rows", "sign", "zero", "other model"])
def test_a_garbled_answer_is_caught(dtype: str, garble: str) -> None:
    import torch

    reference = answers()
    garbled = {
        "classes": lambda: [[call[0].roll(1, dims=1)] for call in reference],
        "rows": lambda: [[call[0].flip(0)] for call in reference],
        "sign": lambda: [[-call[0]] for call in reference],
        "zero": lambda: [[torch.zeros_like(call[0])] for call in reference],
        "other model": lambda: answers(seed=9),
    }[garble]()
    found = compare(reference, garbled, dtype)
    assert not found.ok
    assert found.sqnr_db <= 1.0
    assert found.max_abs_diff > 0


def test_a_small_output_that_is_wrong_does_not_hide_behind_a_large_one() -> None:
    large, small = answers(scale=1e4), answers(seed=3)
    reference = [[a, b] for (a,), (b,) in zip(large, small, strict=True)]
    wrong = [[a, -b] for (a,), (b,) in zip(large, small, strict=True)]
    found = compare(reference, wrong, "int8")
    assert not found.ok
    assert found.sqnr_db == pytest.approx(10 * math.log10(1 / 4), abs=0.01)
    assert found.cosine == pytest.approx(-1.0)
    assert compare(reference, reference, "int8").ok


def test_what_cannot_be_compared_is_refused_with_the_reason() -> None:
    import torch

    reference = answers()
    nan, infinite = [[torch.full((2, 50), math.nan)]] * 4, [[torch.full((2, 50), math.inf)]] * 4
    half = [[torch.where(call[0] > 0, call[0], math.nan)] for call in reference]
    for outputs, reason in (
        ([[]] * 4, "no output"),
        ([[*call, *call] for call in reference], "2 outputs where eager gives 1"),
        ([[call[0][:, :49]] for call in reference], "output of shape (2, 49) where eager gives (2, 50)"),
        ([[call[0][:1]] for call in reference], "output of shape (1, 50) where eager gives (2, 50)"),
        (nan, "NaN in 100 of 100 places where eager has numbers"),
        (infinite, "inf in 100 of 100 places where eager has numbers"),
        (half, f"NaN in {int(half[0][0].isnan().sum())} of 100 places where eager has numbers"),
    ):
        found = compare(reference, outputs, "float32")
        assert not found.ok
        assert found.reason == reason
    assert compare(nan, nan, "float32").reason == "eager's own output has no finite value to compare with"


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_where_eager_has_no_number_there_is_to_be_the_same(value: float) -> None:
    import torch

    reference = [[torch.where(call[0] > 1, value, call[0])] for call in answers()]
    places = int((reference[0][0] != answers()[0][0]).sum())
    name = str(value).replace("nan", "NaN")
    for other in (5.0, math.nan, math.inf, -math.inf):
        found = compare(reference, [[torch.where(call[0] > 1, other, call[0])] for call in answers()], "int4")
        if other == value or (math.isnan(value) and math.isnan(other)):
            assert found.ok
        else:
            assert found.reason is not None
            assert f"{places} of 100 places where eager has {name}" in found.reason
    assert compare(reference, with_noise(answers(), 60.0), "float32").ok is False
    noisy = [[torch.where(r[0] > 1, value, o[0])] for r, o in zip(answers(), with_noise(answers(), 60.0), strict=True)]
    assert compare(reference, noisy, "float32").sqnr_db == pytest.approx(60.0, abs=3.0)


def test_top1_agreement_is_the_share_of_rows() -> None:
    import torch

    reference = [[torch.eye(4)]]
    for right, share in ((4, 1.0), (3, 0.75), (0, 0.0)):
        output = torch.eye(4)
        output[right:] = output[right:].roll(1, dims=1)
        assert compare(reference, [[output]], "int8").top1_agreement == share
    assert compare([[torch.ones(3, 1)]], [[torch.ones(3, 1)]], "int8").top1_agreement is None


def test_eager_that_answers_the_same_to_every_input_leaves_the_sqnr_alone_to_judge() -> None:
    import torch

    reference = [[torch.full((2, 10), 1 / 3)]] * 3
    assert compare(reference, with_noise(reference, 60.0), "float32").ok
    assert not compare(reference, with_noise(reference, 40.0), "float32").ok


def test_integers_booleans_numbers_complex_values_and_no_rows_are_compared_too(tmp_path: Path) -> None:
    import torch

    for tensor in (
        torch.arange(20).reshape(4, 5),
        torch.tensor([[True, False], [False, False]]),
        torch.tensor(3.5),
        torch.arange(6.0),
        torch.complex(torch.randn(2, 3), torch.randn(2, 3)),
    ):
        assert compare([[tensor]], [[tensor.clone()]], "float32").ok
        found = compare([[tensor]], [[tensor.conj().clone() if tensor.is_complex() else ~tensor.bool()]], "float32")
        assert not found.ok
    nothing = [torch.ones(2, 3), torch.zeros(0, 6)]
    found = compare([nothing], [nothing], "float32")
    assert found.ok
    write_json(tmp_path / "fidelity.json", found)


@given(
    reference=st.lists(st.floats(width=32), min_size=12, max_size=12),
    output=st.lists(st.floats(width=32), min_size=12, max_size=12),
    dtype=st.sampled_from(["float32", *LOSSY]),
)
def test_any_figures_give_a_verdict_that_json_can_hold(reference: list[float], output: list[float], dtype: str) -> None:
    import torch

    def calls(figures: list[float]) -> list[list[Tensor]]:
        return [[tensor] for tensor in torch.tensor(figures).reshape(3, 2, 2)]

    found = compare(calls(reference), calls(output), dtype)
    figures = [value for value in to_dict(found).values() if isinstance(value, float)]
    assert all(math.isfinite(figure) for figure in figures)
    assert found.ok == (found.reason is None)
    assert -1.0 <= found.cosine <= 1.0
    assert abs(found.sqnr_db) <= IDENTICAL_DB
    if found.ok:
        assert found.sqnr_db >= found.tolerance_db
        assert found.cosine > LEAST_CORRELATION_OTHER


@pytest.mark.parametrize(
    ("capability", "allowed", "expected"), [(9, True, "tf32"), (9, False, "float32"), (7, True, "float32")]
)
def test_convolutions_on_a_gpu_round_float32(
    monkeypatch: pytest.MonkeyPatch, capability: int, allowed: bool, expected: str
) -> None:
    """Inductor and eager differ by 46 dB on an H100, where each rounds to TF32 in its own order."""
    import torch

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (capability, 0))
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
    assert arithmetic("float32", "cuda") == expected
    assert arithmetic("float16", "cuda") == "float16"
    assert arithmetic("float32", "cpu") == "float32"
    reference = answers()
    assert compare(reference, with_noise(reference, 45.8), expected).ok == (expected == "tf32")
