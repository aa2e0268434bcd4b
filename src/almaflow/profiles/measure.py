"""Measures the segments of a recorded session, each as a job, and keeps each figure as soon as it is known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from almaflow.errors import AlmaflowError, TrackingError
from almaflow.profiles.choice import choose
from almaflow.profiles.figures import figures_of, line_of, lost
from almaflow.profiles.files import MeasuredFiles
from almaflow.profiles.track import track
from almaflow.records.clock import now
from almaflow.tracking.fingerprints import setting_fingerprint
from almaflow.tracking.uris import display_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from almaflow.profiles.choice import Choice
    from almaflow.profiles.workload import Piece
    from almaflow.records import Job, ModelSpec
    from almaflow.records.profile_results import ProfileResults

MIN_SEGMENT_US = 50.0
"""Segments whose eager call takes less are not measured, where they hardly count together."""


class SegmentJobs(Protocol):
    """Runs a job for a segment: ``jobs.segments.SegmentJobs``."""

    experiment_name: str
    uri: str
    """A resolved store."""

    def run(self, model: ModelSpec, earlier: str | None = None) -> Job:
        """Measure a segment in the conversions that were asked for, or take what was measured before."""


class MachineJobs(Protocol):
    """Runs the jobs of segments on a machine of a fleet: ``fleet.segments.FleetSegmentJobs``."""

    experiment_name: str
    uri: str
    """A resolved store."""
    machine: str
    """Name of its hardware config."""
    conversions: tuple[str, ...]

    def run(self, models: Sequence[ModelSpec]) -> Iterator[tuple[str, Job | AlmaflowError]]:
        """Yield the ID of each segment with its job, or with why it has none, as they end."""


def measure_profile(  # noqa: PLR0913 - the settings of a measurement
    profile: Path | str,
    jobs: SegmentJobs | None,
    *,
    fleet: Sequence[MachineJobs] = (),
    min_segment_us: float = MIN_SEGMENT_US,
    time_budget_s: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> ProfileResults:
    """Measure the segments of a session, the one with the most eager time first; what is known is not measured again.

    A segment whose job cannot be run, and what the time budget leaves, counts by its eager calls in the session.

    Args:
        profile: The ID of the session, or its directory.
        jobs: Runs the jobs on this machine; None: nothing is measured here.
        fleet: Runs jobs on further machines, after those of this one.
        min_segment_us: Segments whose eager call takes less, in microseconds, are left out while all of them together
            take no more than a hundredth of the eager time.
        time_budget_s: Seconds after which no further segment is begun on this machine.
        tell: Gets a line about each segment.

    Raises:
        UsageError: there is no such session.
        TrackingError: the store cannot be used.
        KeyboardInterrupt: a job was interrupted; what was measured is kept.
    """
    files = MeasuredFiles.of(profile)
    workload = files.workload()
    choice = choose(workload.pieces.values(), min_segment_us)
    stores = [each for each in (jobs, *fleet) if each]
    with files.locked():
        measuring = _Measuring(files, choice, stores[0], tell)
        if jobs:
            measuring.here(jobs, time_budget_s)
        for each in fleet:
            measuring.on(each)
        measuring.keep(ended_at=now())
    count = len(choice.order) * len(stores)
    tell(f"measured {measuring.again} of {count} segments; the others are known, or count as they ran eagerly")
    try:
        track(files, stores[0].uri)
    except TrackingError as error:
        tell(str(error))
    return files.results()


class _Measuring:
    """What is known so far: each figure is on disk before the next job begins."""

    def __init__(
        self, files: MeasuredFiles, choice: Choice, store: SegmentJobs | MachineJobs, tell: Callable[[str], None]
    ) -> None:
        self._files, self._choice, self._tell, self._began = files, choice, tell, now()
        self.again = 0
        """Segments that were measured now."""
        self._results = files.results()
        self.keep(
            counted_as_eager=dict(choice.left_out),
            experiment_name=store.experiment_name,
            store=display_uri(store.uri),
            started_at=self._began,
            ended_at=None,
            tracked=False,
        )

    def keep(self, **changes: Any) -> None:
        """Write the results with these changes."""
        self._results = replace(self._results, **changes)
        self._files.write_results(self._results)

    def here(self, jobs: SegmentJobs, time_budget_s: float | None) -> None:
        """Measure on this machine; what cannot be measured counts as it ran in the recording, which was here."""
        order = self._choice.order
        for number, segment in enumerate(order, 1):
            if time_budget_s is not None and now() - self._began > time_budget_s:
                left = {each.segment_id: f"the time budget of {time_budget_s:g} s" for each in order[number - 1 :]}
                self.keep(counted_as_eager=self._results.counted_as_eager | _unknown(self._results, left))
                self._tell(
                    f"{len(left)} of {len(order)} segments left: the time budget of {time_budget_s:g} s is spent"
                )
                return
            place = f"segment {number} of {len(order)}, {segment.location or segment.segment_id}"
            try:
                job = jobs.run(self._files.model_of(segment), self._results.jobs.get(segment.segment_id))
            except TrackingError:
                raise
            except AlmaflowError as error:
                self.keep(counted_as_eager=self._results.counted_as_eager | {segment.segment_id: str(error)})
                self._tell(f"{place}: counted as it ran eagerly: {error}")
                continue
            self._take(segment, job, job.hardware.name, place)
            self.keep(jobs=self._results.jobs | {segment.segment_id: job.job_id})
            if job.interrupted:
                raise KeyboardInterrupt

    def on(self, jobs: MachineJobs) -> None:
        """Measure on a machine of a fleet; what cannot be measured there has no time, since the recording was here."""
        pieces = {each.segment_id: each for each in self._choice.order}
        self.keep(elsewhere=tuple(dict.fromkeys([*self._results.elsewhere, jobs.machine])))
        interrupted = False
        for number, (name, found) in enumerate(jobs.run([self._files.model_of(each) for each in pieces.values()]), 1):
            place = f"{jobs.machine}: segment {number} of {len(pieces)}, {pieces[name].location or name}"
            if isinstance(found, AlmaflowError):
                none = lost(name, jobs.machine, jobs.conversions, str(found))
                self.keep(figures=self._results.with_figures(none))
                self._tell(f"{place}: {found}")
            else:
                # By the name that it was asked by: the job has that of its processor where the config names none.
                self._take(pieces[name], found, jobs.machine, place)
                interrupted = interrupted or found.interrupted
        if interrupted:
            raise KeyboardInterrupt

    def _take(self, segment: Piece, job: Job, name: str, place: str) -> None:
        """Keep the figures of a job on a machine of this name."""
        figures = figures_of(segment, job, name)
        self.again += any(each.ended_at >= self._began for each in figures)
        self.keep(
            figures=self._results.with_figures(figures),
            prices=self._results.prices | {name: job.hardware.price_per_hour},
            settings=self._results.settings | {name: setting_fingerprint(job)},
            threads=self._results.threads | {name: job.hardware.threads},
        )
        self._tell(f"{place}: {line_of(figures)}")


def _unknown(results: ProfileResults, reasons: dict[str, str]) -> dict[str, str]:
    """Return the reasons of those that have no figure from before."""
    known = {each.segment_id for each in results.figures}
    return {segment: reason for segment, reason in reasons.items() if segment not in known}
