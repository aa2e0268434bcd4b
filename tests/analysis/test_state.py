"""The machine's state over all rounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almaflow.analysis.state import is_disturbed, state_metrics
from almaflow.records import MachineState
from almaflow.tracking.schema import key


@pytest.mark.parametrize(
    ("state", "threads", "disturbed"),
    [
        (None, 2, False),
        (MachineState(), 2, False),
        (MachineState(others_cpus=0.49), 2, False),
        (MachineState(others_cpus=0.5), 2, True),
        (MachineState(others_cpus=0.3, steal_cpus=0.2), 2, True),
        (MachineState(others_cpus=0.5), 16, False),
    ],
)
def test_a_round_is_disturbed_by_a_quarter_of_the_processors(
    state: MachineState | None, threads: int, disturbed: bool
) -> None:
    assert is_disturbed(state, threads) is disturbed


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
