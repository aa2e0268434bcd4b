"""What rounds add to the figures: intervals, the machine around them, and speedups between neighbours."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.example_jobs import changed, in_rounds, job, ok

from almaflow.analysis import outcome_metrics
from almaflow.records import MachineState, MeasureSpec, Outcome, Prediction

NINE = [9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0]
"""Medians of rounds: their interval goes from the second of them to the last but one, 2 to 8."""


def with_rounds(outcome: Outcome, name: str, *values: Any) -> Outcome:
    """The outcome with another value of one field in each of its rounds."""
    assert outcome.measurement is not None
    rounds = zip(outcome.measurement.rounds, values, strict=True)
    return changed(outcome, rounds=tuple(replace(each, **{name: value}) for each, value in rounds))


def metrics_of(*outcomes: Outcome) -> dict[str, float]:
    """Of the last of these outcomes."""
    return outcome_metrics(job(*outcomes), outcomes[-1])


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
    outcome = with_rounds(in_rounds(ok("ONNX_CPU"), [10.0, 10.0, 10.0]), "control_ms", 5.0, 9.0, 6.0)
    assert metrics_of(outcome)["machine/control_ms"] == 6.0


def test_processors_that_were_used_are_the_processor_time_by_the_length_of_the_calls() -> None:
    outcome = in_rounds(ok("ONNX_CPU"), [100.0, 300.0])  # 0.3 s and 0.9 s
    assert metrics_of(with_rounds(outcome, "cpu_s", 0.6, 0.9))["machine/cpus_used"] == pytest.approx(1.5 / 1.2)


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


def test_predicted_energy_is_judged_by_the_counter() -> None:
    states = [None, *(MachineState(energy_j=4.0, watched_s=2.0) for _ in range(2))]
    measured = in_rounds(ok("ONNX_CPU"), [100.0] * 3, states=states)
    told = Prediction(100.0, "roofline", "1", energy_j=0.3)
    found = metrics_of(replace(measured, predictions=(told, Prediction(90.0, "given", "1"))))
    # 2 W for 0.1 s are 0.2 J a batch.
    assert found["energy/j_per_sample"] == pytest.approx(0.1)
    assert found["prediction/roofline/energy_j"] == 0.3
    assert found["prediction/roofline/energy_error_pct"] == pytest.approx(50.0)
    assert "prediction/given/energy_error_pct" not in found


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
    nine = [4.0 + each / 10 for each in NINE]
    found = metrics_of(in_rounds(ok("EAGER"), nine), in_rounds(ok("ONNX_CPU"), [2.0] * 9))
    assert found["speedup_vs_eager"] == pytest.approx(2.25)
    assert found["speedup/vs_eager_ci_low"] == pytest.approx(2.1)
    assert found["speedup/vs_eager_ci_high"] == pytest.approx(2.4)
    assert found["speedup/vs_eager_stable"] == 1.0


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
        assert not [name for name in found if name.startswith("speedup/vs_eager_ci")]
        assert found.get("speedup/vs_eager_stable", 0.0) == 0.0


def test_throughput_under_load_is_calls_by_the_time_they_took_together() -> None:
    """Two streams: six calls of 100 ms each, half of them at the same time as the other half."""
    outcome = with_rounds(in_rounds(ok("ONNX_CPU"), [100.0, 100.0]), "wall_s", 0.15, 0.15)
    found = outcome_metrics(replace(job(), measure=MeasureSpec(streams=2)), outcome)
    assert found["latency_ms"] == 100.0
    assert found["throughput"] == pytest.approx(2 * 6 / 0.3)


def test_rounds_without_any_length_give_neither_a_rate_nor_processors() -> None:
    outcome = in_rounds(ok("EAGER"), [0.0, 0.0], [0.0])
    found = metrics_of(outcome)
    assert found["latency_ms"] == 0.0
    assert not {"throughput", "machine/cpus_used", "noise/between_processes", "speedup_vs_eager"} & set(found)


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
    if low is not None and high is not None and found["speedup/vs_eager_stable"]:
        assert low <= found["speedup_vs_eager"] <= high
