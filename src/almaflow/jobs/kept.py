"""The converted models of a job that stay on disk, in ``kept/`` of its directory."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from almaflow.analysis import analyse, counts
from almaflow.measure.work_directory import export_of
from almaflow.records.export import KEPT, kept_exports

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from almaflow.errors import RecordError
    from almaflow.jobs.keep_setting import Keep
    from almaflow.measure.conversion_run import ConversionRun
    from almaflow.measure.progress import Progress
    from almaflow.records import Job, Outcome


@dataclass
class KeptModels:
    """Takes what workers wrote, and removes what is no longer to be kept.

    A model that cannot be kept costs a warning: what was measured does not depend on it.
    """

    root: Path
    """The job's directory."""
    keep: Keep
    """What is asked for."""
    progress: Progress
    _earlier: Collection[str] = field(init=False)
    """Conversions that an earlier attempt has kept: what is removed of these is told."""

    def __post_init__(self) -> None:
        """Look at what is there."""
        self._earlier = kept_exports(self.root).keys()

    def take(self, run: ConversionRun, outcome: Outcome) -> None:
        """Move the model of a conversion that counts out of its worker's directory."""
        measured = outcome.measurement
        if measured is None or run.outcome is None:
            return
        if measured.not_kept:
            self.progress.warn(f"{run.planned.name}: its converted model is not kept ({measured.not_kept})")
        if measured.export_mb is None or not counts(outcome):
            return
        place = self.root / KEPT / re.sub(r"[^A-Za-z0-9_.-]+", "-", run.planned.name)
        try:
            place.parent.mkdir(exist_ok=True)
            shutil.rmtree(place, ignore_errors=True)
            shutil.move(export_of(run.directory), place)
        except OSError as error:
            self.progress.warn(f"{run.planned.name}: its converted model is not kept ({error.strerror or error})")
            shutil.rmtree(place, ignore_errors=True)

    def prune(self, job: Job) -> None:
        """Where only the best is to stay, remove what is worse than the best so far, or lost too much quality."""
        if not self.keep.only_best:
            return
        kept = kept_exports(self.root)
        fallen = {row.name for row in analyse(job).rows if row.too_low}
        worse = {*self._ranked(job, kept)[1:], *(name for name in kept if name in fallen)}
        self._remove(worse - self._spared)

    def settle(self, job: Job) -> None:
        """Leave what is asked for at a job's end, also of what an earlier attempt kept, and tell what is lacking."""
        if job.interrupted:  # what is measured later may show what is the best
            return
        unreadable: list[RecordError] = []
        kept = kept_exports(self.root, unreadable)
        for error in unreadable:
            self.progress.warn(f"a converted model that was kept is damaged: {error}")
        # The fastest where nothing keeps to the limits of the job: other limits may be asked for later.
        fastest = [row.name for row in analyse(job).rows if row.may_win and row.name in kept]
        best = (self._ranked(job, kept) or fastest)[:1]
        wanted = set(best) if self.keep.only_best else self.keep.names
        if spared := self._spared & (kept.keys() - wanted):
            text = f"keep: left what an earlier attempt had kept: {', '.join(sorted(spared))}"
            self.progress.note(f"{text}; keep=best removes what is not the best")
        self._remove(kept.keys() - wanted - spared)
        names = frozenset[str]() if self.keep.only_best else self.keep.names - kept.keys()
        if lacking := [each.planned.name for each in job.outcomes if each.planned.name in names and _could_be(each)]:
            text = f"keep: not on disk as converted models, though measured earlier: {', '.join(lacking)}"
            self.progress.warn(f"{text}; to keep them, run the job without resume")

    @property
    def _spared(self) -> frozenset[str]:
        """What is not removed, since nobody asked for it."""
        return frozenset(self._earlier if self.keep.spares_earlier else ())

    def _ranked(self, job: Job, kept: Collection[str]) -> list[str]:
        """Return those that are kept and may be deployed, the best first."""
        return [name for name in analyse(job).ranked if name in kept]

    def _remove(self, names: Collection[str]) -> None:
        kept = kept_exports(self.root)
        for name in names:
            shutil.rmtree(kept[name][0], ignore_errors=True)
        if told := sorted(set(names) & set(self._earlier)):
            self.progress.note(f"keep: removed what an earlier attempt had kept: {', '.join(told)}")


def _could_be(outcome: Outcome) -> bool:
    """Whether this job measured what counts, and nothing has been said of why it is not kept."""
    measured = outcome.measurement
    return outcome.job_id is None and counts(outcome) and measured is not None and measured.not_kept is None
