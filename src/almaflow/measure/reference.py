"""The parent's wait for the reference run: the model built once and run eagerly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.errors import AlmaflowError, UsageError
from almaflow.processes.logs import last_line
from almaflow.records import Failure, FailureKind, Job, ReferenceInfo

if TYPE_CHECKING:
    from almaflow.processes.worker_handle import WorkerHandle


def prepare(job: Job, worker: WorkerHandle) -> ReferenceInfo:
    """Build the model once and run it eagerly: a wrong model costs seconds, not a tier.

    Raises:
        UsageError: the model does not build or run.
        AlmaflowError: the worker ended without a result.
    """
    worker.until_ready()
    worker.on_phase = lambda _phase: None  # as the control, it speaks for no conversion
    state = worker.exit_state()
    result = state.result
    if result.bad_input:
        raise UsageError(result.bad_input)
    if result.prepared is None or result.failure:
        failure = result.failure or Failure(FailureKind.CRASHED, "the worker ended without a result")
        last = last_line(state.log_path)
        message = f"the model {job.model.name} could not be prepared ({failure.kind}: {failure.message})"
        raise AlmaflowError(f"{message}; {last}" if last else message)
    return result.prepared
