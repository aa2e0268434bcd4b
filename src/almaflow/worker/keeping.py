"""Writes a converted model to the worker's directory, once everything is measured."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow.conversions.exports.loader import Work
from almaflow.conversions.exports.write import write_export
from almaflow.models.dynamic import axes_of
from almaflow.records.export import EXPORT_DIRECTORY
from almaflow.records.trouble import number_in
from almaflow.worker.threads import threads_per_stream

if TYPE_CHECKING:
    from almaflow.conversions.built.model import BuiltModel
    from almaflow.conversions.converted import ConvertedModel
    from almaflow.records import Measurement, WorkerTask
    from almaflow.worker.check import Checker

LONGEST_REASON = 300

LEFT_MB = 200.0
"""Room on the disk that a model must leave, beside as much again as its own size."""


def keep_model(checker: Checker, converted: ConvertedModel, measurement: Measurement) -> Measurement:
    """Write the model with its loader and the first batch as an example.

    Returns:
        The measurement with the size of the model's files, or with the reason why there are none.
    """
    task, planned, reference, traits = checker.task, checker.planned, checker.reference, checker.task.traits
    try:
        _require_room(Path(task.work_dir), converted.model_mb(), task.keep_limit_mb)
        outputs = checker.output(converted.call, 0)
        checker.inputs.prepare(0)
        names = [name for name, _, _ in reference.outputs[0]]
        export = write_export(
            Path(task.work_dir) / EXPORT_DIRECTORY,
            Work(
                planned=planned,
                model=task.model,
                built=converted.built,
                batch=checker.inputs.get(0),
                form=reference.call_form,
                output_names=tuple(names),
                outputs=tuple(each.tensor for each in outputs),
                threads=_threads(converted.built, task),
                axes=axes_of(task.model, reference.call_form.names, reference.batches[0]),
                keeps_memory=task.measure.keep_memory,
            ),
            reference.batches[0],
            outputs,
            arithmetic=checker.tolerance.dtype,
            comparable=not (traits.random or traits.keeps_state),
        )
        _require_size(export.size_mb, task.keep_limit_mb)
    except BaseException as error:  # noqa: BLE001 - whatever a library raises while it saves, even SystemExit
        shutil.rmtree(Path(task.work_dir) / EXPORT_DIRECTORY, ignore_errors=True)
        return replace(measurement, not_kept=_reason(error))
    return replace(measurement, export_mb=export.size_mb)


def _threads(built: BuiltModel, task: WorkerTask) -> int:
    """Return the threads that the model was timed with: those of its own runtime, else PyTorch's in each stream."""
    if built.sessions:
        return int(built.sessions[0].get_session_options().intra_op_num_threads)
    return int(dict(built.settings).get("INFERENCE_NUM_THREADS") or threads_per_stream(task))


def _require_size(size_mb: float, limit_mb: float | None) -> None:
    """Refuse a model that is larger than what may be kept."""
    if limit_mb is not None and size_mb > limit_mb:
        message = f"its {size_mb:.0f} MB are above keep_limit_mb={limit_mb:g}"
        raise NotImplementedError(message)


def _require_room(directory: Path, model_mb: float | None, limit_mb: float | None) -> None:
    """Refuse to write a model that is too large, or would leave a nearly full disk to those that write measurements."""
    _require_size(model_mb or 0.0, limit_mb)
    free_mb = shutil.disk_usage(directory).free / 1e6
    if free_mb < 2 * (model_mb or 0.0) + LEFT_MB:
        message = f"the disk has {free_mb:.0f} MB left"
        raise NotImplementedError(message)


def _reason(error: BaseException) -> str:
    """Return in one line why a model could not be written."""
    number = error.errno if isinstance(error, OSError) else None
    if number := number or number_in(str(error)):
        return os.strerror(number)
    text = " ".join(str(error).split())[:LONGEST_REASON]
    return text if isinstance(error, NotImplementedError) and text else f"{type(error).__name__}: {text}".rstrip(": ")
