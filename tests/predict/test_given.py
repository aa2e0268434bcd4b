from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.example_jobs import planned

from almaflow.errors import UsageError
from almaflow.predict import Given, Predictor
from almaflow.records import HardwareSpec, ModelSpec, PredictionRequest
from almaflow.stats import error_pct


def question(
    conversion: str = "EAGER", model: str = "simple", hardware: str = "cpu", batch_size: int = 4
) -> PredictionRequest:
    return PredictionRequest(ModelSpec(model), HardwareSpec(hardware, "cpu", 2), planned(conversion), batch_size)


if TYPE_CHECKING:
    from pathlib import Path

positive = st.floats(min_value=1e-6, max_value=1e6)


def test_the_given_number_is_the_prediction_for_every_conversion() -> None:
    predictor: Predictor = Given(12.5, energy_j=0.3, version="7")
    for name in ("EAGER", "ONNX_CPU"):
        made = predictor.predict(question(name))
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


ROWS: list[dict[str, Any]] = [
    {"latency_ms": 9.0},
    {"latency_ms": 5.0, "conversion": "onnx_cpu"},
    {"latency_ms": 4.0, "conversion": "ONNX_CPU", "batch_size": 1, "low_ms": 3.0, "high_ms": 6.0},
    {"latency_ms": 7.0, "model": "resnet18", "hardware": "*", "conversion": ""},
]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    if path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        names = list(dict.fromkeys(name for row in rows for name in row))
        lines = [names, *([str(row.get(name, "")) for name in names] for row in rows)]
        path.write_text("\n".join(map(",".join, lines)), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_the_entry_of_a_file_that_says_the_most_answers(tmp_path: Path, suffix: str) -> None:
    predictor = Given(path=write(tmp_path / f"table.{suffix}", ROWS))
    cases = [
        (question("EAGER"), 9.0),
        (question("ONNX_CPU"), 5.0),
        (question("ONNX_CPU", batch_size=1), 4.0),
        (question("EAGER", model="resnet18"), 7.0),
        (question("ONNX_CPU", model="resnet18"), 5.0),  # as many keys: the first
    ]
    for asked, expected in cases:
        made = predictor.predict(asked)
        assert made is not None
        assert made.latency_ms == expected
    small = predictor.predict(question("ONNX_CPU", batch_size=1))
    assert small is not None
    assert (small.low_ms, small.high_ms) == (3.0, 6.0)


def test_the_version_of_a_file_changes_with_it(tmp_path: Path) -> None:
    first = Given(path=write(tmp_path / "a.csv", ROWS)).version
    assert Given(path=write(tmp_path / "b.csv", ROWS)).version == first
    assert Given(path=write(tmp_path / "b.csv", ROWS[:1])).version != first


def test_what_no_entry_fits_is_not_predicted(tmp_path: Path) -> None:
    assert Given(path=write(tmp_path / "a.csv", [{"latency_ms": 1, "hardware": "h100"}])).predict(question()) is None
    assert Given().predict(question()) is None


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "must hold a list of entries with latency_ms"),
        ([{"latency_ms": 1}, {"model": "a"}], r"entry 2: latency_ms: Field required"),
        ([{"latency_ms": -1}], r"entry 1: latency_ms: Input should be greater than 0"),
        ([{"latency_ms": 1, "bacth": 2}], "entry 1: bacth: Extra inputs are not permitted"),
        ([{"latency_ms": 1, "batch_size": 1.5}], "entry 1: batch_size: "),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_a_file_that_is_wrong_says_where(tmp_path: Path, suffix: str, rows: list[dict[str, Any]], said: str) -> None:
    path = write(tmp_path / f"table.{suffix}", rows)
    with pytest.raises(UsageError, match=rf"^predictor\.given\.path=.*{said}"):
        Given(path=path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        Given(path=str(tmp_path / "none.csv"))


def test_a_number_may_be_meant_for_one_conversion_only() -> None:
    for name in ("COMPILE_INDUCTOR_DEFAULT", "compile_inductor", "6"):
        predictor = Given(12.5, conversion=name)
        answers = {each: predictor.predict(question(each)) for each in ("EAGER", "COMPILE_INDUCTOR_DEFAULT")}
        assert answers["EAGER"] is None
        assert answers["COMPILE_INDUCTOR_DEFAULT"]
    with pytest.raises(UsageError, match=r"^predicted_for=EAGR: unknown conversion EAGR; nearest: EAGER"):
        Given(12.5, conversion="EAGR")
