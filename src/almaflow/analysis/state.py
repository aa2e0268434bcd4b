"""The state of the machine during the rounds of one conversion: its figures, and what a person should know of it."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from almaflow.records import MachineState

OTHERS_CPUS = 0.2
"""Twice what a load is known to. It is a tenth of two processors, and a spread of a tenth makes a figure unstable."""

STEAL_CPUS = 0.1
"""Half of it: while the hypervisor has a processor, a worker's thread there stands still, and all that wait for it."""

HOT_C = 95.0
"""Where processors and GPUs slow themselves down: from 90 to 105 degrees Celsius, AMD's newest from 95."""


def state_metrics(states: Sequence[MachineState]) -> dict[str, float]:
    """Metrics of one conversion's rounds, by the names that MLflow gets; what no round knows is left out.

    Loads and clocks are medians over the rounds, like the latency: neither feels a disturbance of a few rounds. The
    temperature and the processes on the GPU are the most that was seen, since their effect outlasts the round.

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
    """What disturbed a conversion's rounds, in sentences without a full stop; empty where nothing is known to have.

    Figures are those of ``state_metrics``. A clock that was held down is named even for a single round, with how many
    rounds it concerned: it shows that the GPU is at a limit.
    """
    known = state_metrics(states)
    said = []
    if (others := known.get("machine/others_cpus", 0.0)) >= OTHERS_CPUS:
        said.append(f"other processes used {others:.1f} CPUs meanwhile")
    if (steal := known.get("machine/steal_cpus", 0.0)) >= STEAL_CPUS:
        said.append(f"the hypervisor took {steal:.1f} CPUs")
    if (hottest := known.get("machine/temperature_c", 0.0)) >= HOT_C:
        said.append(f"it got as hot as {hottest:.0f} °C, where chips slow themselves down")
    if held := [state.gpu_throttle for state in states if state.gpu_throttle]:
        reasons = ", ".join(sorted({reason for reasons in held for reason in reasons}))
        said.append(f"the GPU's clock was held down in {len(held)} of {len(states)} rounds: {reasons}")
    if processes := int(known.get("machine/gpu_other_processes", 0)):
        said.append(f"{processes} other process{'es were' if processes > 1 else ' was'} on the GPU")
    return tuple(said)


def _over(statistic: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return statistic(known) if known else None
