"""Timing the operators of one's own models: the command, and a prediction that follows from it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from almaflow.calibration.operators.models import timed_conversions
from almaflow.cli.calibrate import calibrate
from almaflow.cli.predict import predict
from almaflow.errors import UsageError


def test_operators_are_timed_for_some_conversions_only() -> None:
    assert [each.name for each in timed_conversions(["ONNX_CPU"])] == ["ONNX_CPU"]
    with pytest.raises(UsageError, match=r"--conversions EXPORT.EAGER: operators are timed one by one for ONNX_CPU, "):
        timed_conversions(["EXPORT+EAGER"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--for", "model=simple", "--quick"], "--for and --operators time operators only: leave out --quick"),
        (["--operators", "--history"], "--for and --operators time operators only: leave out --quick"),
        (["--operators", "--device", "cuda"], "operators are timed one by one on the CPU only"),
        (["--operators", "--for", "model=simple"], "--operators those of drawn layers: give one of them"),
        (["--for", "model=simple", "--for", "hardware.threads=1,2"], "with one number of threads at a time"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CliRunner().invoke(calibrate, arguments, catch_exceptions=False)


@pytest.mark.slow
@pytest.mark.parametrize("conversion", ["ONNX_CPU", "EAGER"])
def test_a_model_whose_operators_were_timed_is_predicted_and_explained(conversion: str) -> None:
    command = ["--for", "model=simple", "--conversions", conversion, "--threads", "1"]
    done = CliRunner().invoke(calibrate, command, catch_exceptions=False)
    assert "operators timed with" in done.stdout
    asked = ["model=simple", "predictor=operators", f"conversions=[{conversion}]", "hardware.threads=1"]
    made = CliRunner().invoke(predict, [*asked, "--json"], catch_exceptions=False)
    (prediction,) = [each for each in json.loads(made.stdout) if each["predictor"] == "operators"]
    assert 0.001 < prediction["predicted_latency_ms"] < 1000
    shown = CliRunner().invoke(predict, [*asked, "--explain", "--profile"], catch_exceptions=False).stdout
    assert "operators, operator by operator" in shown
    assert "difference" in shown  # the profiler saw the same operators
