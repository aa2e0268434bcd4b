"""The reference run as its parent sees it: the model built once and run eagerly, before any conversion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.errors import AlmaflowError, UsageError
from almaflow.records import Failure, FailureKind, ReferenceInfo

if TYPE_CHECKING:
    from almaflow.processes.worker_handle import WorkerHandle


def reference_info(model_name: str, worker: WorkerHandle) -> ReferenceInfo:
    """Wait for the worker that builds the model and runs it eagerly: a wrong model costs seconds, not a tier.

    Raises:
        UsageError: the model does not build or run.
        AlmaflowError: the worker ended without a result.
    """
    worker.until_ready()
    ended = worker.left()
    if ended.result.bad_input:
        raise UsageError(ended.result.bad_input)
    if ended.result.prepared is None or ended.result.failure:
        failure = ended.result.failure or Failure(FailureKind.CRASHED, "the worker ended without a result")
        tail = ended.log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        message = f"the model {model_name} could not be prepared ({failure.kind}: {failure.message})"
        raise AlmaflowError("; ".join([message, *tail]))
    return ended.result.prepared
