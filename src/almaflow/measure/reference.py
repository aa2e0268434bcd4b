"""The reference run as its parent sees it: the model built once and run eagerly, before any conversion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.analysis.metric_names import unknown_figure
from almaflow.errors import AlmaflowError, UsageError
from almaflow.processes.logs import last_line
from almaflow.records import Failure, FailureKind, ReferenceInfo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from almaflow.processes.worker_handle import WorkerHandle


def reference_info(model_name: str, worker: WorkerHandle, chosen_by: Iterable[str] = ()) -> ReferenceInfo:
    """Wait for the worker that builds the model and runs it eagerly: a wrong model costs seconds, not a tier.

    Args:
        model_name: The name of the model, for messages.
        worker: The worker.
        chosen_by: Metrics that limits are set to: their figures of quality are known now.

    Raises:
        UsageError: the model does not build or run, or its evaluation lacks one of these figures.
        AlmaflowError: the worker ended without a result, or the disk is full.
    """
    worker.until_ready()
    exit_state = worker.exit_state()
    result = exit_state.result
    if result.bad_input:
        raise UsageError(result.bad_input)
    if result.prepared is None or result.failure:
        failure = result.failure or Failure(FailureKind.CRASHED, "the worker ended without a result")
        if failure.kind is FailureKind.MACHINE:
            message = f"the model {model_name} could not be prepared: {failure.message}"
            raise AlmaflowError(message)
        last = last_line(exit_state.log_path)
        message = f"the model {model_name} could not be prepared ({failure.kind}: {failure.message})"
        raise AlmaflowError(f"{message}; {last}" if last else message)
    if wrong := unknown_figure(chosen_by, result.prepared.quality):
        raise UsageError(wrong)
    return result.prepared
