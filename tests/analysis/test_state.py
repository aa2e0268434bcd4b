"""The machine's state over all rounds: the warnings a person is given, and the metrics."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almaflow.analysis.state import HOT_C, OTHERS_CPUS, STEAL_CPUS, state_metrics, warnings_of
from almaflow.records import MachineState
from almaflow.tracking.schema import key

QUIET = MachineState(others_cpus=0.05, steal_cpus=0.0, temperature_c=60.0, gpu_other_processes=0)


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([], ()),
        ([MachineState()], ()),
        ([QUIET] * 3, ()),
        ([QUIET, MachineState(others_cpus=3.0), QUIET], ()),
        ([MachineState(others_cpus=0.44)] * 2, ("other processes used 0.4 CPUs meanwhile",)),
        ([MachineState(steal_cpus=0.21)], ("the hypervisor took 0.2 CPUs",)),
        ([QUIET, MachineState(temperature_c=96.4)], ("it got as hot as 96 °C, where chips slow themselves down",)),
        (
            [
                MachineState(gpu_throttle=("thermal slowdown", "power cap")),
                MachineState(gpu_throttle=("power cap",)),
                QUIET,
            ],
            ("the GPU's clock was held down in 2 of 3 rounds: power cap, thermal slowdown",),
        ),
        ([QUIET, MachineState(gpu_other_processes=1)], ("1 other process was on the GPU",)),
        ([MachineState(gpu_other_processes=2)], ("2 other processes were on the GPU",)),
    ],
)
def test_what_a_person_is_told(states: list[MachineState], said: tuple[str, ...]) -> None:
    assert warnings_of(states) == said


def test_a_threshold_belongs_to_what_is_told() -> None:
    at = MachineState(others_cpus=OTHERS_CPUS, steal_cpus=STEAL_CPUS, temperature_c=HOT_C)
    assert len(warnings_of([at])) == 3


def test_metrics_are_what_is_known() -> None:
    assert state_metrics([]) == {}
    assert state_metrics([MachineState()]) == {}
    states = [
        MachineState(others_cpus=0.1, frequency_mhz=3000.0, temperature_c=50.0, gpu_clock_mhz=1000.0),
        MachineState(others_cpus=0.2, temperature_c=70.0, gpu_clock_mhz=1400.0, gpu_other_processes=2),
        MachineState(others_cpus=0.9, steal_cpus=0.0, temperature_c=60.0),
        MachineState(),
    ]
    assert state_metrics(states) == {
        "machine/others_cpus": 0.2,
        "machine/steal_cpus": 0.0,
        "machine/frequency_mhz": 3000.0,
        "machine/temperature_c": 70.0,
        "machine/gpu_clock_mhz": 1200.0,
        "machine/gpu_other_processes": 2.0,
    }
    assert all(key(name) == name for name in state_metrics(states))


numbers = st.none() | st.floats(0, 1e4)


@given(st.lists(st.builds(MachineState, numbers, numbers, numbers, numbers, numbers), max_size=9))
def test_a_metric_lies_within_what_was_seen(states: list[MachineState]) -> None:
    for name, value in state_metrics(states).items():
        field = name.removeprefix("machine/")
        seen = [figure for state in states if (figure := getattr(state, field)) is not None]
        assert min(seen) <= value <= max(seen)
