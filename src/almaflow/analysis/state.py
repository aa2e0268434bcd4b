"""The state of the machine during the rounds of one conversion."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from almaflow.records import MachineState

DISTURBING = 0.25
"""Processors that others take, as a share of the job's threads, from which on a round counts as disturbed: half of one
beside two threads, which is five times the resolution of a load (``machine.monitor``)."""


def state_metrics(states: Sequence[MachineState]) -> dict[str, float]:
    """Return the machine's metrics over one conversion's rounds, by their names in MLflow, without unknown ones.

    Loads and clocks are medians over the rounds, like the latency: neither feels a disturbance of a few rounds. The
    temperature and the number of processes on the GPU are maxima, since their effect outlasts the round.

    Returns:
        Loads in processors, clocks in MHz, the temperature in degrees Celsius, a number of processes.
    """
    figures = {
        "machine/others_cpus": _over(median, (state.others_cpus for state in states)),
        "machine/steal_cpus": _over(median, (state.steal_cpus for state in states)),
        "machine/frequency_mhz": _over(median, (state.frequency_mhz for state in states)),
        "machine/temperature_c": _over(max, (state.temperature_c for state in states)),
        "machine/gpu_clock_mhz": _over(median, (state.gpu_clock_mhz for state in states)),
        "machine/gpu_other_processes": _over(max, (state.gpu_other_processes for state in states)),
    }
    return {name: value for name, value in figures.items() if value is not None}


def is_disturbed(state: MachineState | None, threads: int) -> bool:
    """Whether other processes and the hypervisor are known to have taken a quarter of the job's processors or more."""
    if state is None:
        return False
    return (state.others_cpus or 0.0) + (state.steal_cpus or 0.0) >= DISTURBING * threads


def _over(statistic: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    present = [float(value) for value in values if value is not None]
    return statistic(present) if present else None
