"""A worker that ends while it writes its model has measured everything, however it ends."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.example_jobs import measured

from almaflow.processes.memory import NOT_THE_CONVERSION
from almaflow.processes.worker_handle import WorkerHandle
from almaflow.records import Failure, FailureKind, Measurement, WorkerResult, write_json
from almaflow.records.protocol import KEEPING, PHASES

if TYPE_CHECKING:
    from pathlib import Path

MEASURED = measured(20.0)
TIMEOUT = Failure(FailureKind.TIMEOUT, "not done in time", KEEPING)


def ended(
    directory: Path,
    phase: str,
    *,
    code: int | None = 0,
    failure: Failure | None = None,
    evaluate: object = None,
    **result: Any,
) -> WorkerResult:
    """What the parent makes of a worker that has ended in a phase."""
    write_json(directory / "result.json", WorkerResult(**{"measurement": MEASURED, **result}))
    handle: Any = SimpleNamespace(
        task=SimpleNamespace(work_dir=str(directory), evaluate=evaluate),
        phase=phase,
        _failure=failure,
        _code=code,
        _memory=SimpleNamespace(mb=9.0),
        _seen_from_here=lambda measurement: measurement,
    )
    return WorkerHandle.exit_state(handle).result


def of(result: WorkerResult) -> Measurement:
    assert result.measurement is not None
    return result.measurement


@pytest.mark.parametrize(
    ("code", "failure", "why"),
    [
        (-6, None, "the worker was killed by SIGABRT"),
        (200, None, "the worker could not keep its result: No space left on device"),
        (0, TIMEOUT, "not done in time"),
        (None, None, "it was ended before the model was written"),
    ],
)
def test_what_was_measured_counts_and_the_model_is_not_kept(
    tmp_path: Path, code: int | None, failure: Failure | None, why: str
) -> None:
    result = ended(tmp_path, KEEPING, code=code, failure=failure)
    assert result.failure is None
    assert result.finished
    assert why in (of(result).not_kept or "")


def test_a_worker_that_dies_when_the_model_is_written_has_written_it(tmp_path: Path) -> None:
    result = ended(tmp_path, KEEPING, code=-11, measurement=measured(20.0), finished=True)
    assert of(result).not_kept is not None
    whole = ended(tmp_path, KEEPING, code=-11, measurement=replace(MEASURED, export_mb=4.0), finished=True)
    assert (of(whole).export_mb, of(whole).not_kept, whole.failure) == (4.0, None, None)


def test_a_worker_that_dies_before_it_is_evaluated_says_that_it_was_not(tmp_path: Path) -> None:
    assert of(ended(tmp_path, KEEPING, code=-11, evaluate="top1")).quality_error is not None
    assert of(ended(tmp_path, KEEPING, code=-11)).quality_error is None
    assert of(ended(tmp_path, KEEPING, code=-11, evaluate="top1", finished=True)).quality_error is None


def test_one_that_ends_before_has_failed_and_one_that_ends_well_has_nothing_to_tell(tmp_path: Path) -> None:
    assert ended(tmp_path, "check", code=-6).failure is not None
    well = ended(tmp_path, KEEPING, finished=True)
    assert (of(well).not_kept, well.failure, well.finished) == (None, None, True)


def test_the_phase_follows_the_last_round_and_its_memory_is_not_the_conversions() -> None:
    assert PHASES.index(KEEPING) == PHASES.index("ready") + 1
    assert KEEPING in NOT_THE_CONVERSION
