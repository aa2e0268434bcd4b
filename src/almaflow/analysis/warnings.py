"""What speaks against a job's figures, in sentences that every document shows alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.analysis.metrics import counts
from almaflow.analysis.state import state_metrics
from almaflow.analysis.wording import names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from almaflow.records import Job, MachineState, Outcome

OTHERS_CPUS = 0.2
"""Load by other processes from which on people are warned: twice the resolution of a load (``machine.monitor``).
It is a tenth of two processors, and a spread of a tenth makes a figure unstable."""

STEAL_CPUS = 0.1
"""Load by the hypervisor from which on people are warned: half of ``OTHERS_CPUS``.
While the hypervisor has a processor, a worker's thread there stands still, and so do all that wait for it."""

HOT_C = 95.0
"""Degrees Celsius from which on people are warned: chips slow themselves down at 90 to 105, AMD's newest from 95."""

_NAMED = 3
"""Most conversions that a sentence names."""
_CALIBRATED = "calibrated on samples that its quality is judged on; give a model.calibration_loader with others"
_NOT_OURS = "torch_interop"
"""Threads that nobody sets, and that inference does not use."""


def warnings_of(job: Job) -> tuple[str, ...]:
    """Return what speaks against the figures of a job as a whole, a sentence each, without a full stop.

    - Other processes or the hypervisor took processors; one sentence for all conversions.
    - The machine drifted.
    - More threads were asked for than there are cores, or a library took another number.
    - A conversion ran on a hot processor, on a GPU whose clock was held down, or beside others on the GPU.
    - A conversion could not be evaluated, or was calibrated on samples that it is judged on.
    """
    timed = {outcome.planned.name: _states(outcome) for outcome in job.outcomes if counts(outcome)}
    return tuple(filter(None, (busy(job), _drift(job), *_threads(job), *_conversions(timed), *_quality(job))))


def busy(job: Job) -> str:
    """Tell how much of the machine others took while conversions were timed, and what to do; empty where little."""
    loads = {outcome.planned.name: state_metrics(_states(outcome)) for outcome in job.outcomes if counts(outcome)}
    took = []
    disturbed: set[str] = set()
    for name, least, text in (
        ("machine/others_cpus", OTHERS_CPUS, "other processes used {:.1f} CPUs"),
        ("machine/steal_cpus", STEAL_CPUS, "the hypervisor took {:.1f} CPUs"),
    ):
        above = {conversion: load[name] for conversion, load in loads.items() if load.get(name, 0.0) >= least}
        if above:
            took.append(text.format(max(above.values())))
            disturbed |= set(above)
    if not took:
        return ""
    threads = job.hardware.threads
    beside = f"beside the job's {threads} thread{'' if threads == 1 else 's'}"
    which = f" during {_several([each for each in loads if each in disturbed])}" if len(disturbed) < len(loads) else ""
    return f"The machine was busy: {' and '.join(took)} {beside}{which}; measure again when it is quiet"


def _drift(job: Job) -> str:
    """Tell that the machine was faster or slower at the job's end than at its start; empty where that is noise."""
    change = job.drift
    if change is None or abs(change.relative) <= change.resolved:
        return ""
    pace = "slower" if change.relative > 0 else "faster"
    return (
        f"The machine drifted: eager was {abs(change.relative):.0%} {pace} at the job's end than at its start, where "
        f"rounds differ by {change.resolved:.0%}; medians may be off by as much, ratios less"
    )


def _threads(job: Job) -> Iterator[str]:
    asked, cores = job.hardware.threads, job.environment.get("physical_cores", "")
    there = int(cores) * (2 if job.environment.get("smt") == "on" else 1) if cores.isdecimal() else asked
    if asked > there:
        yield f"{asked} threads on {there} processors wait for each other: hardware.threads={cores} takes one a core"
    each = max(1, asked // job.measure.streams)
    others: dict[str, list[str]] = {}
    for outcome in job.outcomes:
        if outcome.measurement and counts(outcome):
            for library, count in outcome.measurement.threads.items():
                if library != _NOT_OURS and count not in {asked, each}:
                    others.setdefault(f"{library} took {count}", []).append(outcome.planned.name)
    for taken, conversions in others.items():
        yield f"{_several(conversions)}: of the {asked} threads asked for, {taken}"


def _conversions(timed: dict[str, list[MachineState]]) -> Iterator[str]:
    told: dict[str, list[str]] = {}
    for conversion, states in timed.items():
        for text in _device(states):
            told.setdefault(text, []).append(conversion)
    for text, conversions in told.items():
        yield f"{_several(conversions)}: {text}"


def _quality(job: Job) -> Iterator[str]:
    if job.evaluate is None:
        return
    told: dict[str, list[str]] = {}
    for outcome in job.outcomes:
        measured = outcome.measurement
        if measured and measured.quality_error:
            told.setdefault(f"not evaluated: {measured.quality_error}", []).append(outcome.planned.name)
        if measured and measured.calibration_samples and not job.model.calibration_loader:
            told.setdefault(_CALIBRATED, []).append(outcome.planned.name)
    for text, conversions in told.items():
        yield f"{_several(conversions)}: {text}"


def _device(states: Sequence[MachineState]) -> Iterator[str]:
    """Tell of heat and of the GPU; a clock held down even for one round, since it shows that the GPU is at a limit."""
    metrics = state_metrics(states)
    if (hottest := metrics.get("machine/temperature_c", 0.0)) >= HOT_C:
        yield f"it got as hot as {hottest:.0f} °C, where chips slow themselves down"
    if held := [state.gpu_throttle for state in states if state.gpu_throttle]:
        reasons = ", ".join(sorted({reason for reasons in held for reason in reasons}))
        yield f"the GPU's clock was held down in {len(held)} of {len(states)} rounds: {reasons}"
    if processes := int(metrics.get("machine/gpu_other_processes", 0)):
        yield f"{processes} other process{'es were' if processes > 1 else ' was'} on the GPU"


def _states(outcome: Outcome) -> list[MachineState]:
    return [each.state for each in outcome.measurement.rounds if each.state] if outcome.measurement else []


def _several(conversions: Sequence[str]) -> str:
    if len(conversions) <= _NAMED:
        return names(conversions)
    return f"{', '.join(conversions[: _NAMED - 1])} and {len(conversions) - _NAMED + 1} more"
