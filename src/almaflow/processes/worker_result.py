"""Reads what a worker has left in its directory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from almaflow.errors import RecordError
from almaflow.records import WorkerResult, read_json
from almaflow.records.kept_rounds import with_kept_rounds
from almaflow.secrets import mask

if TYPE_CHECKING:
    from pathlib import Path


def read_result(directory: Path) -> WorkerResult:
    """Read the result of a worker, with the rounds that it kept after the result was written.

    What the worker did not write, or what other code wrote in its place, counts as nothing.
    """
    try:
        result = read_json(directory / "result.json", WorkerResult)
        if result.measurement and (result.failure or not result.finished):
            result = replace(result, measurement=with_kept_rounds(result.measurement, directory))
    except (FileNotFoundError, RecordError):
        # Written in one move, so what cannot be read was not written by the worker's own code.
        return WorkerResult()
    # What code that is not ours said goes into files, tags and reports.
    measured, prepared = result.measurement, result.prepared
    return replace(
        result,
        failure=mask(result.failure),
        bad_input=mask(result.bad_input),
        measurement=measured
        and replace(
            measured,
            notes=mask(measured.notes),
            quality_error=mask(measured.quality_error),
            not_kept=mask(measured.not_kept),
        ),
        prepared=prepared and replace(prepared, notes=mask(prepared.notes)),
    )
