"""The state of the machine during the rounds of one conversion: its figures, and warnings for people."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from almaflow.records import MachineState

OTHERS_CPUS = 0.2
"""Load by other processes from which on people are warned: twice the resolution of a load (``machine.monitor``).
It is a tenth of two processors, and a spread of a tenth makes a figure unstable."""

STEAL_CPUS = 0.1
"""Load by the hypervisor from which on people are warned: half of ``OTHERS_CPUS``.
While the hypervisor has a processor, a worker's thread there stands still, and so do all that wait for it."""

HOT_C = 95.0
"""Degrees Celsius from which on people are warned: chips slow themselves down at 90 to 105, AMD's newest from 95."""


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


def warnings_of(states: Sequence[MachineState]) -> tuple[str, ...]:
    """Return what is known to have disturbed a conversion's rounds, in sentences without a full stop.

    Figures are those of ``state_metrics``. A GPU clock that was held down is named even for a single round, with the
    number of rounds: it shows that the GPU is at a limit.
    """
    metrics = state_metrics(states)
    warnings = []
    if (others := metrics.get("machine/others_cpus", 0.0)) >= OTHERS_CPUS:
        warnings.append(f"other processes used {others:.1f} CPUs meanwhile")
    if (steal := metrics.get("machine/steal_cpus", 0.0)) >= STEAL_CPUS:
        warnings.append(f"the hypervisor took {steal:.1f} CPUs")
    if (hottest := metrics.get("machine/temperature_c", 0.0)) >= HOT_C:
        warnings.append(f"it got as hot as {hottest:.0f} °C, where chips slow themselves down")
    if held := [state.gpu_throttle for state in states if state.gpu_throttle]:
        reasons = ", ".join(sorted({reason for reasons in held for reason in reasons}))
        warnings.append(f"the GPU's clock was held down in {len(held)} of {len(states)} rounds: {reasons}")
    if processes := int(metrics.get("machine/gpu_other_processes", 0)):
        warnings.append(f"{processes} other process{'es were' if processes > 1 else ' was'} on the GPU")
    return tuple(warnings)


def _over(statistic: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    present = [float(value) for value in values if value is not None]
    return statistic(present) if present else None
