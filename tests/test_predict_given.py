from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.made_jobs import planned

from almaflow.errors import UsageError
from almaflow.predict import Given, Predictor, error_pct
from almaflow.records import HardwareSpec, ModelSpec

positive = st.floats(min_value=1e-6, max_value=1e6)


def test_the_given_number_is_the_prediction_for_every_conversion() -> None:
    predictor: Predictor = Given(12.5, energy_j=0.3, version="7")
    for name in ("EAGER", "ONNX_CPU"):
        made = predictor.predict(ModelSpec("simple"), HardwareSpec("cpu", "cpu", 2), planned(name), 4)
        assert made is not None
        assert (made.latency_ms, made.energy_j, made.predictor, made.version) == (12.5, 0.3, "given", "7")


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_what_cannot_be_a_prediction_is_refused_by_the_name_that_the_user_typed(value: float) -> None:
    with pytest.raises(UsageError, match=r"^predicted_latency_ms must be a positive number, not "):
        Given(value)
    with pytest.raises(UsageError, match=r"^predicted_energy_j must be a positive number, not "):
        Given(1.0, energy_j=value)


def test_the_error_is_signed_and_relative_to_what_was_measured() -> None:
    assert error_pct(1.8, 2.0) == pytest.approx(-10.0)
    assert error_pct(3.0, 2.0) == pytest.approx(50.0)


@given(positive, positive)
def test_the_error_is_positive_exactly_when_the_prediction_is_too_slow(predicted: float, measured: float) -> None:
    error = error_pct(predicted, measured)
    assert math.copysign(1, error) == math.copysign(1, predicted - measured)
    assert measured * (1 + error / 100) == pytest.approx(predicted, rel=1e-6, abs=measured * 1e-9)


@pytest.mark.parametrize("measured", [0.0, -1.0, math.nan, math.inf])
def test_there_is_no_error_against_nothing(measured: float) -> None:
    with pytest.raises(ValueError, match="must be a positive number"):
        error_pct(1.0, measured)
