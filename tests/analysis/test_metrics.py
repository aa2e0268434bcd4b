"""The figures of one conversion: what each is, and which it gets only where it counts."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.example_jobs import GOOD, WRONG, changed, failed, in_rounds, job, measured, ok, planned, unavailable

from almaflow.analysis import counts, outcome_metrics
from almaflow.records import FailureKind, Fidelity, Outcome

HEADLINE = {"latency_ms", "throughput", "speedup_vs_eager", "speedup_vs_inductor"}
ERRORS = {"prediction_error_pct", "prediction_abs_error_pct"}


def test_the_headline_figures_of_one_that_counts() -> None:
    eager, inductor = ok("EAGER", 20.0), ok("COMPILE_INDUCTOR_DEFAULT", 10.0)
    onnx = ok("ONNX_CPU", [4.0, 5.0, 9.0], predicted_ms=4.0)
    found = outcome_metrics(job(eager, inductor, onnx), onnx)
    assert found["latency_ms"] == 5.0
    assert found["throughput"] == pytest.approx(2 * 1000 / 6.0)
    assert found["speedup_vs_eager"] == pytest.approx(4.0)
    assert found["speedup_vs_inductor"] == pytest.approx(2.0)
    assert found["predicted_latency_ms"] == 4.0
    assert found["prediction_error_pct"] == pytest.approx(-20.0)
    assert found["prediction_abs_error_pct"] == pytest.approx(20.0)


def test_the_sections_hold_the_details() -> None:
    onnx = ok("ONNX_CPU", [4.0, 5.0, 9.0])
    found = outcome_metrics(job(onnx), onnx)
    assert {key: found[key] for key in found if "/" in key} == {
        "latency/floor": 4.0,
        "latency/mean": 6.0,
        "latency/std": pytest.approx(7.0**0.5),
        "latency/iqr": 2.5,
        "latency/min": 4.0,
        "latency/max": 9.0,
        "latency/samples": 3.0,
        "noise/cv": pytest.approx(7.0**0.5 / 6),
        "noise/stable": 1.0,
        "time/load": 3.0,
        "time/convert": 1.5,
        "time/first_call": 0.5,
        "time/total": 8.0,
        "memory/peak_rss_mb": 700.0,
        "memory/baseline_mb": 400.0,
        "fidelity/max_abs_diff": 1e-6,
        "fidelity/cosine": 1.0,
        "fidelity/sqnr_db": 110.0,
        "fidelity/top1_agreement": 1.0,
    }


def test_percentiles_memory_of_the_device_and_recompiles_where_they_are_known() -> None:
    outcome = ok("EAGER", [1.0 + i / 1000 for i in range(662)])
    outcome = changed(outcome, device_memory_mb=12.0, recompiles=0, stable=False)
    found = outcome_metrics(job(outcome), outcome)
    assert {"latency/p90", "latency/p95", "latency/p99"} <= set(found)
    assert (found["memory/device_mb"], found["noise/recompiles"], found["noise/stable"]) == (12.0, 0.0, 0.0)


@pytest.mark.parametrize("kind", [FailureKind.WRONG_OUTPUT, FailureKind.FELL_BACK])
def test_a_failure_with_samples_keeps_the_details_and_gets_no_headline(kind: FailureKind) -> None:
    bad = replace(failed("ONNX_CPU", kind, samples_ms=1.0), prediction=ok("X", predicted_ms=1.0).prediction)
    found = outcome_metrics(job(ok("EAGER", 20.0), bad), bad)
    assert not (HEADLINE | ERRORS) & set(found)
    assert found["predicted_latency_ms"] == 1.0
    assert found["latency/mean"] == pytest.approx(1.0)
    assert found["fidelity/sqnr_db"] == 1.0


@pytest.mark.parametrize("kind", [FailureKind.WRONG_OUTPUT, FailureKind.CRASHED])
def test_what_does_not_count_gets_no_speedup_and_is_no_baseline_whatever_its_rounds_say(kind: FailureKind) -> None:
    eager = in_rounds(ok("EAGER"), [20.0] * 9)
    bad = in_rounds(failed("ONNX_CPU", kind, samples_ms=1.0), [1.0] * 9)
    found = outcome_metrics(job(eager, bad), bad)
    assert not [name for name in found if "speedup" in name]
    assert not (HEADLINE | ERRORS) & set(found)
    assert found["latency/rounds"] == 9.0  # how it was timed is kept for diagnosis
    broken, good = in_rounds(failed("EAGER", kind, samples_ms=20.0), [20.0] * 9), in_rounds(ok("ONNX_CPU"), [1.0] * 9)
    assert not [name for name in outcome_metrics(job(broken, good), good) if "speedup" in name]


@pytest.mark.parametrize("outcome", [failed("ONNX_CPU", FailureKind.CRASHED), unavailable("ONNX_GPU")])
def test_without_samples_there_is_no_figure_at_all(outcome: Outcome) -> None:
    assert outcome_metrics(job(ok(), outcome), outcome) == {}


def test_a_measurement_without_samples_has_times_and_no_latency() -> None:
    outcome = replace(failed("ONNX_CPU"), measurement=measured([], fidelity=None))
    found = outcome_metrics(job(outcome), outcome)
    assert found["time/convert"] == 1.5
    assert not [key for key in found if key.startswith(("latency", "noise"))]


@pytest.mark.parametrize("name", ["EAGER", "COMPILE_INDUCTOR_DEFAULT"])
def test_a_baseline_that_does_not_count_gives_no_speedup(name: str) -> None:
    baselines = {"EAGER": ok("EAGER"), "COMPILE_INDUCTOR_DEFAULT": ok("COMPILE_INDUCTOR_DEFAULT")}
    baselines[name] = failed(name, FailureKind.WRONG_OUTPUT, samples_ms=30.0)
    onnx = ok("ONNX_CPU")
    found = outcome_metrics(job(*baselines.values(), onnx), onnx)
    lost = "speedup_vs_eager" if name == "EAGER" else "speedup_vs_inductor"
    assert HEADLINE - set(found) == {lost}


def test_one_that_ran_elsewhere_or_answered_wrongly_does_not_count_though_it_says_ok() -> None:
    elsewhere = replace(ok("ONNX_GPU"), planned=planned("ONNX_GPU", device="cuda"))
    wrong = replace(ok(), measurement=measured(20.0, fidelity=WRONG))
    assert not counts(elsewhere)
    assert not counts(wrong)
    assert not HEADLINE & set(outcome_metrics(job(elsewhere, wrong), elsewhere))


def test_the_index_of_a_device_is_not_another_device() -> None:
    assert counts(replace(ok("EAGER", device="cuda:0"), planned=planned("EAGER", device="cuda")))


def test_infinite_values_are_left_out() -> None:
    outcome = replace(
        ok(), measurement=measured(20.0, fidelity=replace(GOOD, sqnr_db=float("inf"), cosine=float("nan")))
    )
    found = outcome_metrics(job(outcome), outcome)
    assert not {"fidelity/sqnr_db", "fidelity/cosine"} & set(found)
    assert found["fidelity/max_abs_diff"] == 1e-6


def test_an_output_that_could_not_be_compared_is_not_logged_as_equal() -> None:
    placeholder = Fidelity(0.0, 0.0, 0.0, None, 0, 50.0, ok=False, reason="no output")
    bad = replace(failed("ONNX_CPU", FailureKind.WRONG_OUTPUT), measurement=measured(1.0, fidelity=placeholder))
    assert not [key for key in outcome_metrics(job(bad), bad) if key.startswith("fidelity")]


def test_a_clock_that_reads_zero_gives_no_rate() -> None:
    outcome = ok("EAGER", [0.0, 0.0, 0.0], predicted_ms=1.0)
    found = outcome_metrics(job(outcome), outcome)
    assert found["latency_ms"] == 0.0
    assert not (ERRORS | HEADLINE - {"latency_ms"}) & set(found)


@given(st.lists(st.floats(min_value=1e-6, max_value=1e6), min_size=1, max_size=70), st.floats(1e-3, 1e6))
def test_metrics_are_finite_numbers_and_speedups_follow_the_medians(samples: list[float], predicted_ms: float) -> None:
    eager, other = ok("EAGER", 20.0), ok("ONNX_CPU", samples, predicted_ms=predicted_ms)
    found = outcome_metrics(job(eager, other), other)
    json.dumps(found, allow_nan=False)
    assert all(type(value) is float for value in found.values())
    assert found["speedup_vs_eager"] * found["latency_ms"] == pytest.approx(20.0)
    assert found["prediction_abs_error_pct"] == abs(found["prediction_error_pct"])
