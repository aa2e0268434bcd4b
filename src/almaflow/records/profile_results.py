"""What was measured of a recorded function: a figure for each of its segments in each conversion."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from almaflow.records.status import FailureKind, Status

BEST = "best"
"""Name of the total that has each segment in its best conversion."""


@dataclass(frozen=True)
class SegmentFigure:
    """One segment in one conversion on one machine, as its job measured it."""

    segment_id: str
    hardware: str
    conversion: str
    status: Status
    latency_ms: float | None = None
    """Median of one call; None where it does not count, as that of a wrong answer."""
    low_ms: float | None = None
    """Lower end of the median's 95% interval."""
    high_ms: float | None = None
    fidelity_db: float | None = None
    """SQNR against eager; None where it is unknown, or the outputs are equal."""
    equal_share: float | None = None
    """Least share of equal elements of integer and boolean outputs, 0 to 1."""
    failure: FailureKind | None = None
    message: str | None = None
    """Why there is no latency that counts."""
    job_id: str | None = None
    run_id: str | None = None
    """Its MLflow run."""
    ended_at: float = 0.0
    setting: str = ""
    """Digest of the machine, the versions, the threads and what a timed call is."""


@dataclass(frozen=True)
class SizeCheck:
    """A size of a family that was measured only to check the interpolation between the other ones."""

    family: str
    segment_id: str
    hardware: str
    conversion: str
    interpolated_ms: float
    measured_ms: float

    @property
    def error_pct(self) -> float:
        """Return 100 (interpolated - measured) / measured."""
        return 100 * (self.interpolated_ms / self.measured_ms - 1)


@dataclass(frozen=True)
class Verification:
    """Calls of a function that were repeated with the best conversion of each segment in place."""

    function: str
    conversions: dict[str, str]
    """What each segment that they ran ran in, by its ID."""
    calls: int
    """How many different ones."""
    rounds: int
    """How often each was repeated."""
    measured_ms: float
    """Median over the rounds of the mean over the calls."""
    low_ms: float | None
    """Lower end of its 95% interval; None below six rounds."""
    high_ms: float | None
    eager_ms: float
    """The same calls as they are, timed in turn."""
    predicted_ms: float | None
    """Total of these calls by the segments' latencies and the recorded Python; None where one of them is unknown."""
    python_ms: float
    """Python's share of a call, as the median over the rounds."""
    predicted_python_ms: float | None
    ok: bool
    """Whether the answers agree with eager's."""
    reason: str | None = None
    """Why they do not."""
    fidelity_db: float | None = None
    equal_share: float | None = None
    """Least share of equal ones among integers, booleans and texts, 0 to 1."""
    notes: tuple[str, ...] = ()
    """What ran otherwise than in the best conversion or than recorded, and why."""
    ended_at: float = 0.0

    @property
    def error_pct(self) -> float | None:
        """Return 100 (predicted - measured) / measured."""
        return None if self.predicted_ms is None else 100 * (self.predicted_ms / self.measured_ms - 1)


@dataclass(frozen=True)
class ProfileResults:
    """All figures of one recorded session, with why segments have none."""

    profile_id: str
    figures: tuple[SegmentFigure, ...] = ()
    """In the order in which they were asked for."""
    counted_as_eager: dict[str, str] = field(default_factory=dict)
    """Why a segment was not measured, by its ID: its time is then that of its eager calls in the session."""
    jobs: dict[str, str] = field(default_factory=dict)
    """ID of the newest job of each segment, by the segment's ID."""
    prices: dict[str, float | None] = field(default_factory=dict)
    """USD for an hour of each machine that was measured on."""
    settings: dict[str, str] = field(default_factory=dict)
    """``SegmentFigure.setting`` of the newest job on each machine."""
    threads: dict[str, int] = field(default_factory=dict)
    """Threads of the newest job on each machine."""
    elsewhere: tuple[str, ...] = ()
    """Machines that are not the one which recorded the session."""
    experiment_name: str = "almaflow"
    store: str | None = None
    """URI of the MLflow store, without credentials."""
    started_at: float = 0.0
    """Seconds since the epoch, of the newest measuring."""
    ended_at: float | None = None
    verifications: tuple[Verification, ...] = ()
    """The newest one of each function."""
    tracked: bool = False
    """Whether the store has the runs of the profile and of its totals."""

    def comparable(self) -> tuple[ProfileResults, tuple[SegmentFigure, ...]]:
        """Return the results with those figures alone that have the newest setting of their machine, and the others."""
        kinds: dict[bool, list[SegmentFigure]] = {True: [], False: []}
        for each in self.figures:
            kinds[self.settings.get(each.hardware, each.setting) == each.setting].append(each)
        return replace(self, figures=tuple(kinds[True])), tuple(kinds[False])

    def with_figures(self, figures: tuple[SegmentFigure, ...]) -> tuple[SegmentFigure, ...]:
        """Return the figures with new ones in the place of older ones of the same segment, machine and conversion."""
        known = {(each.segment_id, each.hardware, each.conversion): each for each in self.figures}
        known |= {(each.segment_id, each.hardware, each.conversion): each for each in figures}
        return tuple(known.values())
