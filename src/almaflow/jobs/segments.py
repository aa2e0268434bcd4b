"""Runs the job of a recorded segment: its model in the conversions that a profile asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.config.composition import compose
from almaflow.config.overrides import override
from almaflow.errors import RecordError
from almaflow.jobs.files import JobFiles
from almaflow.jobs.request import make_request
from almaflow.jobs.resume import is_open
from almaflow.jobs.run import run_job
from almaflow.jobs.tasks import new_job
from almaflow.measure.progress import Progress
from almaflow.records.plan import EAGER
from almaflow.tracking.fingerprints import plan_fingerprint
from almaflow.tracking.uris import display_uri, resolve_uri

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.jobs.request import Request
    from almaflow.records import Job, ModelSpec
    from almaflow.records.profile import Backend


def settings_of(
    backends: Sequence[Backend], *, measure: str, tracking_uri: str | None, experiment_name: str
) -> list[str]:
    """Return the overrides that the jobs of segments have in common, without those of the user."""
    settings = {
        "measure": measure,
        "tracking.uri": tracking_uri,
        "experiment_name": experiment_name,
        "conversions": list(dict.fromkeys([EAGER, *(each.conversion for each in backends)])),
        "model.name": "segment",
        "model.batch_dim": None,
        "batch_size": 1,
        "keep": "none",
        "resume": "true",
    }
    given = [override(key, value) for key, value in settings.items() if value is not None or key != "tracking.uri"]
    return ["model=custom", *given]


class SegmentJobs:
    """Jobs on this machine that have all in common but the segment.

    Args:
        backends: What segments are measured in; eager is always one of them.
        measure: The preset of the measurement's settings.
        tracking_uri: An MLflow tracking URI; by default the store that ``almaflow run`` writes to.
        experiment_name: The MLflow experiment.
        overrides: Anything else as ``almaflow run`` takes it.

    Raises:
        UsageError: a setting is unknown; nothing was measured.
    """

    def __init__(
        self,
        backends: Sequence[Backend],
        *,
        measure: str = "default",
        tracking_uri: str | None = None,
        experiment_name: str = "almaflow",
        overrides: Sequence[str] = (),
    ) -> None:
        given = settings_of(backends, measure=measure, tracking_uri=tracking_uri, experiment_name=experiment_name)
        self._config = compose([*given, *overrides])
        self.experiment_name = self._config.experiment_name
        self.uri = resolve_uri(self._config.tracking.uri)

    def run(self, model: ModelSpec, earlier: str | None = None) -> Job:
        """Measure a segment, or take what the store has of the same one.

        Args:
            model: The segment.
            earlier: The ID of the job that answered for the same segment before. Where it would be the same job again,
                no process is started.

        Raises:
            UsageError: the segment does not build or run.
            AlmaflowError: it could not be prepared, or the store on this machine is broken.
        """
        request = make_request(self._config, model=model)
        known = _same(request, earlier) if earlier else None
        return known or run_job(request, Progress())


def _same(request: Request, earlier: str) -> Job | None:
    """Return an earlier job that has all that a request asks for; None where it lacks something.

    It is of the same profile, whose files do not change. So what the reference worker found out then is true now.
    """
    try:
        job = JobFiles.of(machine.home() / "jobs" / earlier).read_job()
    except (OSError, RecordError):
        return None
    again = replace(new_job(request), prepared=job.prepared)
    whole = job.tracked and job.ended_at is not None and not any(map(is_open, job.outcomes))
    place = (job.store, job.experiment_name) == (display_uri(request.uri), request.experiment_name)
    same = job.model.name == request.model.name and job.plan_fingerprint == plan_fingerprint(again, request.plan)
    return job if whole and place and same else None
