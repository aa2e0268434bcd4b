"""``almaflow.profile``: records the calls of marked functions, and measures what they are made of."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from almaflow.errors import UsageError
from almaflow.fleet.segments import has_fleet, jobs_of
from almaflow.profiles.files import MeasuredFiles
from almaflow.profiles.measure import MIN_SEGMENT_US, measure_profile
from almaflow.profiles.report import ProfileReport
from almaflow.profiles.verify import ROUNDS, verify
from almaflow.segments.backends import resolve_backends
from almaflow.segments.session import ProfilingSession
from almaflow.segments.settings import check_counts
from almaflow.tracking.uris import resolve_uri

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from almaflow.fleet.segments import FleetSegmentJobs
    from almaflow.jobs.segments import SegmentJobs
    from almaflow.records.profile import Backend
    from almaflow.records.profile_results import Verification


class MeasuredSession(ProfilingSession):
    """A session whose report is known once it has ended.

    Args:
        backends: What segments are measured with, when the session has ended.
        uri: A resolved store.
        settings: Those of any session.
    """

    def __init__(self, backends: tuple[Backend, ...], uri: str, **settings: Any) -> None:
        super().__init__(backends, **settings)
        self._uri = uri

    def report(self) -> ProfileReport:
        """Return what the recorded functions take in each conversion, and where their time goes.

        Raises:
            UsageError: the session has not ended.
        """
        return ProfileReport.of(self.files.root)

    def verify(self, *, rounds: int = ROUNDS) -> tuple[Verification, ...]:
        """Repeat the newest calls of each function with the best conversion of every segment in place.

        Their time is compared with the predicted total, and what they answer with what they answer eagerly. Both are
        in the report from then on, and on the profile's run. The calls get the arguments that they had, which the
        application may have changed since.

        Args:
            rounds: How often each call is repeated, eagerly and in place in turn.

        Raises:
            UsageError: nothing was measured, or there is no call to repeat.
            Exception: whatever the application raises.
        """
        if self.profile is None:
            message = "verify: the session has not ended"
            raise UsageError(message)
        return verify(self, MeasuredFiles.of(self.files.root), self._uri, rounds, self.note)


def profile(  # noqa: PLR0913 - the settings of a session, each of which has a default
    *backends: str,
    measure: str | None = "default",
    time_budget_s: float | None = None,
    min_segment_us: float = MIN_SEGMENT_US,
    tracking_uri: str | None = None,
    experiment_name: str = "almaflow",
    overrides: Sequence[str] = (),
    home: str | os.PathLike[str] | None = None,
    fidelity_inputs: int = 4,
    inputs: str = "real",
    no_grad: bool = True,
    recompile_limit: int = 64,
    print_to: TextIO | None = sys.stdout,
) -> MeasuredSession:
    """Open a session that records the calls of functions with ``almaflow.accelerate``, and measures them at its end.

    The application runs as ever, its graphs eagerly. Each graph at each size is kept as a segment with its inputs,
    and the Python between graphs is timed. When the session ends, each segment is measured as a job, unless an
    exception ended it; ``sys.exit()`` does not count as one. One session is open in a process at a time; it
    records all threads.

    Args:
        backends: ``MACHINE/CONVERSION`` to measure segments with: ``local/ONNX_CPU``, ``local/tier2``; by default
            ``local/tier1``. With a fleet among the overrides, MACHINE may be the hardware config of one of its
            machines: ``g4dn_xlarge/TENSORRT``. The names of octoml-profile are understood.
        measure: ``"quick"``, ``"default"`` or ``"thorough"``; None: only record.
        time_budget_s: Seconds of measuring after which no further segment is begun on this machine.
        min_segment_us: Segments whose eager call takes less, in microseconds, are not measured while all of them
            together take no more than a hundredth of the eager time.
        tracking_uri: An MLflow tracking URI; by default the store that ``almaflow run`` writes to.
        experiment_name: The MLflow experiment, created where it is new.
        overrides: Anything else of the jobs as ``almaflow run`` takes it: ``["fleet=ray", "fleet.address=..."]``.
        home: Where the profile is kept; by default almaflow's home.
        fidelity_inputs: How many different inputs of each segment are kept.
        inputs: What is written of them: ``"real"``, ``"permuted"`` (the elements shuffled) or ``"zeros"``.
        no_grad: Whether calls run without gradients.
        recompile_limit: How many graphs PyTorch may make of one function before it gives up on it.
        print_to: Where lines for people are printed; None: nowhere.

    Raises:
        UsageError: a backend or a setting is wrong or out of range; when it is entered: another session is open.
    """
    check_counts(fidelity_inputs=fidelity_inputs, recompile_limit=recompile_limit)
    _check_amount("min_segment_us", min_segment_us)
    if time_budget_s is not None:
        _check_amount("time_budget_s", time_budget_s, " or None")
    found, notes = resolve_backends(backends, fleet=has_fleet(overrides))
    here: SegmentJobs | None = None
    there: Sequence[FleetSegmentJobs] = ()
    if measure is not None:
        here, there = jobs_of(
            found,
            measure=measure,
            tracking_uri=tracking_uri,
            experiment_name=experiment_name,
            overrides=[f"measure.fidelity_inputs={fidelity_inputs}", *overrides],
        )

    def tell(line: str) -> None:
        if print_to is not None:
            print_to.write(f"{line}\n")

    def measured(directory: Path, _backends: object) -> None:
        if here or there:
            measure_profile(
                directory, here, fleet=there, min_segment_us=min_segment_us, time_budget_s=time_budget_s, tell=tell
            )

    return MeasuredSession(
        found,
        next((each.uri for each in (here, *there) if each), resolve_uri(tracking_uri)),
        notes=notes,
        home=None if home is None else Path(home).expanduser().absolute(),
        fidelity_inputs=fidelity_inputs,
        inputs=inputs,
        no_grad=no_grad,
        recompile_limit=recompile_limit,
        print_to=print_to,
        measure=measured,
    )


def _check_amount(name: str, value: object, other: str = "") -> None:
    if not isinstance(value, int | float) or not 0 <= value < math.inf:
        message = f"{name}={value!r}: take a number from 0 on{other}"
        raise UsageError(message)
