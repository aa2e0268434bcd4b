"""Jobs made up for tests, from the shared records."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from almaflow.conversions.catalogue.plan import traits_of
from almaflow.records import (
    Failure,
    FailureKind,
    Fidelity,
    HardwareSpec,
    Job,
    MachineState,
    Measurement,
    MeasureSpec,
    ModelSpec,
    Outcome,
    PlannedConversion,
    Prediction,
    Round,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

GOOD = Fidelity(max_abs_diff=1e-6, cosine=1.0, sqnr_db=110.0, top1_agreement=1.0, rows=4, tolerance_db=50.0, ok=True)
WRONG = replace(GOOD, max_abs_diff=3.0, sqnr_db=1.0, ok=False, reason="SQNR 1.0 dB is below 50 dB")


def planned(name: str = "EAGER", device: str = "cpu", dtype: str = "float32") -> PlannedConversion:
    family = name.split("_", maxsplit=1)[0].lower()
    return PlannedConversion(
        name=name,
        requested=name,
        family=family,
        steps=tuple(name.split("+")),
        engine="alma",
        device=device,
        dtype=dtype,
        traits=traits_of(name, family),
    )


def measured(samples_ms: Sequence[float] | float, device: str = "cpu", fidelity: Fidelity | None = GOOD) -> Measurement:
    if isinstance(samples_ms, float | int):
        samples_ms = [samples_ms * (1 + share / 1000) for share in range(-10, 11)]
    return Measurement(
        samples_ms=tuple(samples_ms),
        batch_size=2,
        load_s=3.0,
        convert_s=1.5,
        first_call_s=0.5,
        total_s=8.0,
        warmup_calls=10,
        stable=True,
        device_actual=device,
        runtime={},
        threads={},
        peak_memory_mb=700.0,
        baseline_memory_mb=400.0,
        fidelity=fidelity,
    )


def ok(
    name: str = "EAGER",
    samples_ms: Sequence[float] | float = 20.0,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    memory_mb: float = 700.0,
    predicted_ms: float | None = None,
) -> Outcome:
    """An outcome that counts; one number stands for 21 samples within 1% of it, which is their median."""
    return Outcome(
        planned(name, device, dtype),
        Status.OK,
        started_at=100.0,
        ended_at=130.0,
        measurement=replace(measured(samples_ms, device), peak_memory_mb=memory_mb),
        prediction=None if predicted_ms is None else Prediction(predicted_ms, "given", "1"),
    )


def in_rounds(
    outcome: Outcome,
    *processes: Sequence[float],
    first: int = 1,
    calls: int = 3,
    states: Sequence[MachineState | None] = (),
) -> Outcome:
    """The outcome with other timings: one sequence of rounds' medians for each process.

    Args:
        outcome: What is kept but for its samples and rounds.
        processes: Medians in milliseconds. The calls of a round lie within 1% of its median, and their sum is the
            round's length; the worker keeps two processors busy, and the control takes 5 ms.
        first: The number of each process's first round; 0 for the one that has no neighbours.
        calls: Of each round; an odd number, so that the median is what was asked for.
        states: Of the machine, round by round over all processes.
    """
    samples: list[float] = []
    rounds: list[Round] = []
    for replicate, medians in enumerate(processes):
        for index, middle in enumerate(medians, start=first):
            own = [middle * (1 + share / 100 / (calls // 2 or 1)) for share in range(-(calls // 2), calls // 2 + 1)]
            samples += own
            wall_s = sum(own) / 1000
            state = states[len(rounds)] if len(rounds) < len(states) else None
            rounds.append(Round(replicate, index, calls, 100.0 + len(rounds), wall_s, 2 * wall_s, 5.0, state))
    measurement = outcome.measurement or measured(samples)
    return replace(outcome, measurement=replace(measurement, samples_ms=tuple(samples), rounds=tuple(rounds)))


def changed(outcome: Outcome, **values: Any) -> Outcome:
    """The outcome with another measurement."""
    assert outcome.measurement is not None
    return replace(outcome, measurement=replace(outcome.measurement, **values))


def failed(
    name: str,
    kind: FailureKind = FailureKind.ERROR,
    *,
    samples_ms: Sequence[float] | float | None = None,
    message: str = "it broke",
) -> Outcome:
    return Outcome(
        planned(name),
        Status.FAILED,
        started_at=200.0,
        ended_at=204.0,
        measurement=None if samples_ms is None else measured(samples_ms, fidelity=WRONG),
        failure=Failure(kind, message, phase="convert"),
        log_path=f"logs/{name}.log",
    )


def unavailable(name: str, reason: str = "needs CUDA", install: str | None = None) -> Outcome:
    missing = replace(
        planned(name), unavailable=reason, unavailable_kind=FailureKind.MISSING_DEPENDENCY, install=install
    )
    return Outcome(missing, Status.UNAVAILABLE, started_at=300.0, ended_at=300.0)


def job(*outcomes: Outcome, device: str = "cpu", cpu: str = "Intel Xeon") -> Job:
    return Job(
        job_id="j1",
        directory="jobs/j1",
        model=ModelSpec("resnet18", arch="resnet18", batch_size=2),
        hardware=HardwareSpec("auto", device, threads=2),
        measure=MeasureSpec(),
        tier=2,
        experiment_name="almaflow",
        config={},
        environment={"cpu": cpu, "torch": "2.14.1"},
        started_at=0.0,
        outcomes=outcomes,
    )
