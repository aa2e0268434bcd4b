from __future__ import annotations

import json
import time
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.made_jobs import GOOD, WRONG, failed, in_rounds, job, measured, ok, planned, unavailable

from almaflow.analysis import analyse, counts, job_metrics, outcome_metrics, to_output
from almaflow.records import (
    Drift,
    FailureKind,
    Fidelity,
    Job,
    MachineState,
    MeasureSpec,
    Outcome,
    Round,
    from_dict,
    to_dict,
)

HEADLINE = {"latency_ms", "throughput", "speedup_vs_eager", "speedup_vs_inductor"}
ERRORS = {"prediction_error_pct", "prediction_abs_error_pct"}
NINE = [9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0]
"""Medians of rounds: their interval goes from the second of them to the last but one, 2 to 8."""


def changed(outcome: Outcome, **values: Any) -> Outcome:
    """The outcome with another measurement."""
    assert outcome.measurement is not None
    return replace(outcome, measurement=replace(outcome.measurement, **values))


def rounds_of(outcome: Outcome) -> tuple[Round, ...]:
    assert outcome.measurement is not None
    return outcome.measurement.rounds


def metrics_of(*outcomes: Outcome) -> dict[str, float]:
    """Of the last of these outcomes."""
    return outcome_metrics(job(*outcomes), outcomes[-1])


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
    assert outcome.measurement is not None
    outcome = replace(
        outcome, measurement=replace(outcome.measurement, device_memory_mb=12.0, recompiles=0, stable=False)
    )
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


def test_rounds_give_the_interval_of_the_median() -> None:
    found = metrics_of(in_rounds(ok("ONNX_CPU"), NINE))
    assert found["latency_ms"] == 5.0
    assert (found["latency/ci_low"], found["latency/ci_high"], found["latency/rounds"]) == (2.0, 8.0, 9.0)
    assert found["latency/samples"] == 27.0
    assert found["noise/processes"] == 1.0
    assert "noise/between_processes" not in found


def test_five_rounds_are_counted_and_give_no_interval() -> None:
    found = metrics_of(in_rounds(ok("ONNX_CPU"), NINE[:5]))
    assert found["latency/rounds"] == 5.0
    assert not [name for name in found if name.startswith("latency/ci")]


def test_processes_widen_the_interval_and_tell_how_far_they_lie_apart() -> None:
    found = metrics_of(in_rounds(ok("ONNX_CPU"), NINE, [value + 5 for value in NINE]))
    assert (found["latency/ci_low"], found["latency/ci_high"], found["latency/rounds"]) == (2.0, 13.0, 18.0)
    assert found["noise/processes"] == 2.0
    assert found["noise/between_processes"] == pytest.approx((10.0 - 5.0) / 7.5)


def test_the_control_is_the_median_over_the_rounds() -> None:
    outcome = in_rounds(ok("ONNX_CPU"), [10.0, 10.0, 10.0])
    rounds = tuple(
        replace(each, control_ms=value) for each, value in zip(rounds_of(outcome), (5.0, 9.0, 6.0), strict=True)
    )
    assert metrics_of(changed(outcome, rounds=rounds))["machine/control_ms"] == 6.0


def test_processors_that_were_used_are_the_processor_time_by_the_length_of_the_calls() -> None:
    outcome = in_rounds(ok("ONNX_CPU"), [100.0, 300.0])  # 0.3 s and 0.9 s
    rounds = tuple(replace(each, cpu_s=value) for each, value in zip(rounds_of(outcome), (0.6, 0.9), strict=True))
    assert metrics_of(changed(outcome, rounds=rounds))["machine/cpus_used"] == pytest.approx(1.5 / 1.2)


def test_the_device_s_own_time_is_the_median_of_its_events() -> None:
    outcome = changed(in_rounds(ok("ONNX_CPU"), NINE), device_samples_ms=(0.5, 9.0, 0.7))
    assert metrics_of(outcome)["latency/device"] == 0.7
    assert metrics_of(outcome)["latency_ms"] == 5.0


def test_the_size_of_the_model_is_passed_on() -> None:
    assert metrics_of(changed(ok(), model_mb=46.8))["memory/model_mb"] == 46.8


def test_energy_is_the_mean_power_for_as_long_as_the_calls_took() -> None:
    states = [
        None,
        MachineState(energy_j=6.0, watched_s=2.0),
        MachineState(others_cpus=1.0, watched_s=2.0),  # the counter gave nothing
        MachineState(energy_j=2.0, watched_s=2.0),
    ]
    found = metrics_of(in_rounds(ok("ONNX_CPU"), [500.0, 100.0, 900.0, 100.0], states=states))
    # 8 J in 4 s are 2 W; the six calls of the two rounds took 0.6 s, on batches of two.
    assert found["energy/j_per_sample"] == pytest.approx(2.0 * 0.6 / (6 * 2))


@pytest.mark.parametrize("state", [None, MachineState(), MachineState(energy_j=0.0), MachineState(watched_s=1.0)])
def test_without_a_counter_there_is_no_energy(state: MachineState | None) -> None:
    assert "energy/j_per_sample" not in metrics_of(in_rounds(ok(), [10.0, 10.0], states=[state, state]))


def test_the_state_of_the_machine_is_among_the_metrics() -> None:
    states = [None, *(MachineState(others_cpus=value) for value in (0.1, 0.9, 0.2))]
    found = metrics_of(in_rounds(ok(), [10.0] * 4, states=states))
    assert found["machine/others_cpus"] == 0.2


def test_a_speedup_comes_from_neighbouring_rounds_where_a_drift_moves_the_medians() -> None:
    """Eager takes part to the end, while the machine becomes slower; the other one is done before."""
    slowing = [1.0 + index / 20 for index in range(27)]
    eager = in_rounds(ok("EAGER"), [20.0 * factor for factor in slowing])
    inductor = in_rounds(ok("COMPILE_INDUCTOR_DEFAULT"), [8.0 * factor for factor in slowing])
    other = in_rounds(ok("ONNX_CPU"), [4.0 * factor for factor in slowing[:9]])
    found = metrics_of(eager, inductor, other)
    assert found["speedup_vs_eager"] == pytest.approx(5.0)
    assert found["speedup_vs_inductor"] == pytest.approx(2.0)
    for name, value in (("eager", 5.0), ("inductor", 2.0)):
        assert found[f"speedup/vs_{name}_ci_low"] == pytest.approx(value)
        assert found[f"speedup/vs_{name}_ci_high"] == pytest.approx(value)
    medians = [metrics_of(each)["latency_ms"] for each in (eager, other)]
    assert medians[0] / medians[1] == pytest.approx(5.0 * 1.65 / 1.2)


def test_the_interval_of_a_speedup_is_that_of_the_rounds_ratios() -> None:
    found = metrics_of(in_rounds(ok("EAGER"), NINE), in_rounds(ok("ONNX_CPU"), [2.0] * 9))
    assert found["speedup_vs_eager"] == pytest.approx(2.5)
    assert found["speedup/vs_eager_ci_low"] == pytest.approx(1.0)
    assert found["speedup/vs_eager_ci_high"] == pytest.approx(4.0)


def test_the_floors_are_compared_beside_it() -> None:
    eager, other = ok("EAGER", [30.0, 20.0, 40.0]), ok("ONNX_CPU", [4.0, 5.0, 9.0])
    assert metrics_of(eager, other)["speedup/floor_vs_eager"] == 5.0
    many = [ok("EAGER", [float(each) for each in range(100, 300)]), ok("ONNX_CPU", [50.0] * 30)]
    assert metrics_of(*many)["speedup/floor_vs_eager"] == pytest.approx(np.percentile(range(100, 300), 5) / 50)


def test_a_baseline_is_as_fast_as_itself_and_gets_no_interval_for_it() -> None:
    found = metrics_of(in_rounds(ok("EAGER"), NINE))
    assert (found["speedup_vs_eager"], found["speedup/floor_vs_eager"]) == (1.0, 1.0)
    assert not [name for name in found if name.startswith("speedup/vs_")]


def test_rounds_that_were_not_taken_next_to_each_other_leave_the_ratio_of_the_medians() -> None:
    apart = metrics_of(in_rounds(ok("EAGER"), [20.0] * 9), in_rounds(ok("ONNX_CPU"), [4.0] * 9, first=10))
    alone = metrics_of(in_rounds(ok("EAGER"), [20.0], first=0), in_rounds(ok("ONNX_CPU"), [4.0], first=0))
    old = metrics_of(ok("EAGER", 20.0), in_rounds(ok("ONNX_CPU"), [4.0] * 9))
    for found in (apart, alone, old):
        assert found["speedup_vs_eager"] == pytest.approx(5.0)
        assert not [name for name in found if name.startswith("speedup/vs_")]


def test_throughput_under_load_is_calls_by_the_time_they_took_together() -> None:
    """Two streams: six calls of 100 ms each, half of them at the same time as the other half."""
    outcome = in_rounds(ok("ONNX_CPU"), [100.0, 100.0])
    rounds = tuple(replace(each, wall_s=each.wall_s / 2) for each in rounds_of(outcome))
    under_load = replace(job(), measure=MeasureSpec(streams=2))
    found = outcome_metrics(under_load, changed(outcome, rounds=rounds))
    assert found["latency_ms"] == 100.0
    assert found["throughput"] == pytest.approx(2 * 6 / 0.3)


def test_rounds_without_any_length_give_neither_a_rate_nor_processors() -> None:
    outcome = in_rounds(ok("EAGER"), [0.0, 0.0], [0.0])
    found = metrics_of(outcome)
    assert found["latency_ms"] == 0.0
    assert not {"throughput", "machine/cpus_used", "noise/between_processes", "speedup_vs_eager"} & set(found)


@pytest.mark.parametrize("kind", [FailureKind.WRONG_OUTPUT, FailureKind.CRASHED])
def test_what_does_not_count_gets_no_speedup_and_is_no_baseline_whatever_its_rounds_say(kind: FailureKind) -> None:
    eager = in_rounds(ok("EAGER"), [20.0] * 9)
    bad = in_rounds(failed("ONNX_CPU", kind, samples_ms=1.0), [1.0] * 9)
    found = metrics_of(eager, bad)
    assert not [name for name in found if "speedup" in name]
    assert not (HEADLINE | ERRORS) & set(found)
    assert found["latency/rounds"] == 9.0  # how it was timed is kept for diagnosis
    broken = in_rounds(failed("EAGER", kind, samples_ms=20.0), [20.0] * 9)
    assert not [name for name in metrics_of(broken, in_rounds(ok("ONNX_CPU"), [1.0] * 9)) if "speedup" in name]


ROUNDS_ONLY = ("latency/rounds", "latency/ci", "latency/device", "machine/", "energy/", "speedup/vs_", "noise/proc")


def test_records_of_before_there_were_rounds_give_what_they_gave() -> None:
    """As they are on disk: without the fields that came later."""
    now = job(ok("EAGER", 20.0), ok("COMPILE_INDUCTOR_DEFAULT", 10.0), ok("ONNX_CPU", [4.0, 5.0, 9.0]))
    data = json.loads(json.dumps(to_dict(now)))
    del data["drift"], data["hardware"]["cpus"]
    for name in ("rel_precision", "replicates", "interleave", "streams"):
        del data["measure"][name]
    for outcome in data["outcomes"]:
        for name in ("rounds", "device_samples_ms", "model_mb"):
            del outcome["measurement"][name]
    old = from_dict(Job, data)
    assert old == now
    found = outcome_metrics(old, old.outcomes[2])
    assert found["latency_ms"] == 5.0
    assert found["throughput"] == pytest.approx(2 * 1000 / 6)
    assert found["speedup_vs_eager"] == pytest.approx(4.0)
    assert found["speedup_vs_inductor"] == pytest.approx(2.0)
    assert not [name for name in found if name.startswith(ROUNDS_ONLY)]
    json.dumps(to_output(old), allow_nan=False)
    assert not [name for name in job_metrics(old) if name.startswith("machine")]


def test_the_job_has_the_best_the_counts_and_how_far_the_machine_drifted() -> None:
    outcomes = [ok("EAGER", 20.0), ok("COMPILE_INDUCTOR_DEFAULT", 10.0), failed("ONNX_CPU"), unavailable("ONNX_GPU")]
    made = replace(job(*outcomes), started_at=100.0, ended_at=160.0, drift=Drift(20.0, 21.0, resolved=0.02))
    assert job_metrics(made) == {
        "best_latency_ms": pytest.approx(10.0),
        "best_speedup_vs_eager": pytest.approx(2.0),
        "best_speedup_vs_inductor": pytest.approx(1.0),
        "time/job": 60.0,
        "machine/drift_pct": pytest.approx(5.0),
        "machine/drift_resolved_pct": pytest.approx(2.0),
        "conversions_ok": 2.0,
        "conversions_failed": 1.0,
        "conversions_unavailable": 1.0,
    }
    faster = replace(made, drift=Drift(20.0, 19.0, resolved=0.0))
    assert job_metrics(faster)["machine/drift_pct"] == pytest.approx(-5.0)


def test_a_job_that_was_not_watched_to_its_end_has_no_drift_and_a_time_all_the_same() -> None:
    found = job_metrics(replace(job(failed("EAGER")), started_at=time.time() - 5.0))
    assert not [name for name in found if name.startswith(("machine", "best"))]
    assert found["time/job"] == pytest.approx(5.0, abs=1.0)


@given(
    st.lists(st.lists(st.floats(1e-3, 1e4), min_size=1, max_size=12), min_size=1, max_size=3),
    st.integers(0, 2),
    st.sampled_from([1, 3, 5]),
)
def test_whatever_the_rounds_the_figures_are_finite_and_in_order(
    processes: list[list[float]], first: int, calls: int
) -> None:
    eager, other = in_rounds(ok("EAGER"), *processes), in_rounds(ok("ONNX_CPU"), *processes, first=first, calls=calls)
    found = metrics_of(eager, other)
    json.dumps(found, allow_nan=False)
    assert all(type(value) is float for value in found.values())
    assert found["latency/rounds"] == sum(map(len, processes))
    assert found["noise/processes"] == len(processes)
    assert found.get("latency/ci_low", 0.0) <= found.get("latency/ci_high", 1e9)
    low, high = (found.get(f"speedup/vs_eager_ci_{end}") for end in ("low", "high"))
    if low is not None and high is not None:
        assert low <= found["speedup_vs_eager"] <= high


def long_job(conversions: int, rounds: int, calls: int) -> Job:
    random = np.random.default_rng(0)
    names = ["EAGER", "COMPILE_INDUCTOR_DEFAULT", *(f"CONVERSION_{each}" for each in range(2, conversions))]
    return job(*(in_rounds(ok(name), random.normal(20.0, 1.0, rounds).tolist(), calls=calls) for name in names))


def test_a_long_job_is_analysed_in_far_less_than_it_takes_to_log_it() -> None:
    """All metrics are worked out for every outcome as it ends, again at the end, and for each document."""
    made = long_job(conversions=60, rounds=50, calls=21)
    outcome_metrics(made, made.outcomes[0])  # numpy and scipy are imported, which is paid for once
    began = time.perf_counter()
    for outcome in made.outcomes:
        outcome_metrics(made, outcome)
    each_s = (time.perf_counter() - began) / len(made.outcomes)
    began = time.perf_counter()
    analyse(made)
    # 2 ms and 0.1 s here.
    assert each_s < 0.05
    assert time.perf_counter() - began < 3.0


def test_every_measuring_setting_has_a_default_so_that_older_jobs_can_be_read() -> None:
    assert from_dict(MeasureSpec, {}) == MeasureSpec()
    assert {field.name for field in fields(MeasureSpec)} >= {"rel_precision", "replicates", "interleave", "streams"}
