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
    from almaflow.conversions.converted import ConvertedModel
    from almaflow.records import Measurement
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
        _require_room(Path(task.work_dir), converted.model_mb())
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
                threads=threads_per_stream(task),
                axes=axes_of(task.model, reference.call_form.names, reference.batches[0]),
            ),
            reference.batches[0],
            outputs,
            tolerance_db=checker.tolerance.least_db,
            least_equal=checker.tolerance.least_equal,
            comparable=not (traits.random or traits.keeps_state),
        )
    except BaseException as error:  # noqa: BLE001 - whatever a library raises while it saves, even SystemExit
        return replace(measurement, not_kept=_reason(error))
    return replace(measurement, export_mb=export.size_mb)


def _require_room(directory: Path, model_mb: float | None) -> None:
    """Refuse to write a model that would leave a nearly full disk to those that write what they measured."""
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
