"""The converted models of a job that stay on disk, in ``kept/`` of its directory."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from almaflow.analysis import analyse, counts
from almaflow.errors import RecordError
from almaflow.measure.work_directory import export_of
from almaflow.records.export import KEPT, kept_exports

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from almaflow.measure.conversion_run import ConversionRun
    from almaflow.records import Job, Outcome


@dataclass(frozen=True)
class KeptModels:
    """Takes what workers wrote, and removes what is no longer to be kept.

    A model that cannot be kept costs a warning: what was measured does not depend on it.
    """

    root: Path
    """The job's directory."""
    only_best: bool
    warn: Callable[[str], None]

    def take(self, run: ConversionRun, outcome: Outcome) -> None:
        """Move the model of a conversion that counts out of its worker's directory."""
        measured = outcome.measurement
        if measured is None or run.outcome is None:
            return
        if measured.not_kept:
            self.warn(f"{run.planned.name}: its converted model is not kept ({measured.not_kept})")
        if measured.export_mb is None or not counts(outcome):
            return
        place = self.root / KEPT / re.sub(r"[^A-Za-z0-9_.-]+", "-", run.planned.name)
        try:
            place.parent.mkdir(exist_ok=True)
            shutil.rmtree(place, ignore_errors=True)
            shutil.move(export_of(run.directory), place)
        except OSError as error:
            self.warn(f"{run.planned.name}: its converted model is not kept ({error.strerror or error})")
            shutil.rmtree(place, ignore_errors=True)

    def prune(self, job: Job) -> None:
        """Remove all but the fastest, where only that one is to be kept."""
        if not self.only_best:
            return
        with suppress(RecordError, OSError):
            kept = kept_exports(self.root)
            best = next((row.name for row in analyse(job).rows if row.may_win and row.name in kept), None)
            for name, (directory, _) in kept.items():
                if name != best:
                    shutil.rmtree(directory, ignore_errors=True)
