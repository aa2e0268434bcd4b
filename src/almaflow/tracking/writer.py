"""Write a job and its conversions to MLflow. Everything that is written here is on disk already."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from errno import ENOTDIR
from typing import TYPE_CHECKING

from almaflow.records import Job, Outcome, Status
from almaflow.tracking import schema as names
from almaflow.tracking import ui_views as views
from almaflow.tracking.artifacts import copy_to
from almaflow.tracking.figures import log_batch, milliseconds
from almaflow.tracking.session import session
from almaflow.tracking.store import prepare

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlflow import MlflowClient

NOTE = "mlflow.note.content"
"""Tag that MLflow shows as the run's description, and as a column of its tables."""

# MLflow shows these as the creator and the source of a run; its own values are a user name and a script's path.
NEUTRAL_TAGS = {"mlflow.user": "almaflow", "mlflow.source.name": "almaflow", "mlflow.source.type": "LOCAL"}


@dataclass(frozen=True)
class Tracker:
    """The MLflow side of one job: a run of its own, and one beside it for every conversion.

    The runs of conversions are not nested under the job's: MLflow's page folds nested runs away, and its charts of a
    folded run show nothing. The tags ``almaflow.job_id`` and ``almaflow.job_run_id`` say what belongs together.
    """

    uri: str
    experiment_id: str
    run_id: str
    """The job's own run."""

    @classmethod
    def open(cls, uri: str, job: Job) -> Tracker:
        """Make the store at a resolved URI ready and create the job's run, or go on with the one that it has.

        Raises:
            TrackingError: the store cannot be reached or written.
            UsageError: the job's experiment was deleted.
        """
        experiment_id = prepare(uri, job.experiment_name)
        with session(uri, "the job cannot be tracked") as client:
            if job.run_id:
                client.update_run(job.run_id, status="RUNNING")
                return cls(uri, experiment_id, job.run_id)
            return cls(uri, experiment_id, cls.create(client, experiment_id, job))

    @staticmethod
    def create(client: MlflowClient, experiment_id: str, job: Job) -> str:
        """Create the job's run and return its ID."""
        run = client.create_run(
            experiment_id,
            start_time=milliseconds(job.started_at),
            tags=NEUTRAL_TAGS | names.job_tags(job),
            run_name=names.run_name(job),
        )
        run_id = str(run.info.run_id)
        log_batch(client, run_id, {}, names.job_params(job), run.info.start_time)
        return run_id

    def log_outcome(
        self, job: Job, outcome: Outcome, metrics: Mapping[str, float], artifacts_dir: Path | None, note: str = ""
    ) -> str:
        """Write one conversion as a finished run and return the run's ID.

        A conversion that cannot run here is a run too, without metrics: the list of runs is then the whole plan.

        Args:
            job: The job as far as it is known.
            outcome: The conversion.
            metrics: Figures by the names of the contract; what is not known is left out.
            artifacts_dir: A directory whose files become the run's artifacts.
            note: The result in one line, which becomes the run's description.

        Raises:
            TrackingError: the run is not, or not wholly, in the store.
            ValueError: a metric is NaN, infinite, or has a name that MLflow does not take.
        """
        names.check_metrics(metrics)
        then = f"its results are kept in {job.directory}"
        with session(self.uri, f"{outcome.planned.name} could not be written", then) as client:
            run = client.create_run(
                self.experiment_id,
                start_time=milliseconds(outcome.started_at),
                tags=NEUTRAL_TAGS
                | names.tags(job, outcome)
                | {"almaflow.job_run_id": self.run_id}
                | _described(note, job),
                run_name=names.run_name(job, outcome),
            )
            run_id = str(run.info.run_id)
            ended = milliseconds(outcome.ended_at)
            try:
                log_batch(client, run_id, metrics, names.params(job, outcome), ended)
            except BaseException:
                # Half a run would be taken for a whole one; and MLflow keeps a deleted run for those who look for it.
                with suppress(Exception):
                    client.delete_run(run_id)
                raise
            _finish(client, run_id, artifacts_dir, _run_status(outcome.status, interrupted=outcome.interrupted), ended)
        return run_id

    def add_metrics(
        self, run_id: str, job: Job, outcome: Outcome, metrics: Mapping[str, float], note: str = ""
    ) -> None:
        """Write figures that became known after the conversion's run had ended, such as speedups, and what they say.

        Raises:
            TrackingError: they are not in the store.
            ValueError: a metric is NaN, infinite, or has a name that MLflow does not take.
        """
        names.check_metrics(metrics)
        with session(self.uri, f"{outcome.planned.name}: figures could not be added") as client:
            log_batch(client, run_id, metrics, {}, milliseconds(outcome.ended_at), _described(note, job))

    def close(  # noqa: PLR0913, PLR0917 - what a job's run has at its end
        self,
        job: Job,
        metrics: Mapping[str, float],
        description_markdown: str,
        artifacts_dir: Path | None,
        status: Status = Status.OK,
        verdict: Mapping[str, str] | None = None,
    ) -> None:
        """Write the job's figures, description and files, and end its run.

        Args:
            job: The job at its end; an interrupted one is tracked as KILLED, whatever the status.
            metrics: Figures of the job as a whole, such as ``conversions_ok``.
            description_markdown: The text that MLflow shows above the run.
            artifacts_dir: A directory whose files become the run's artifacts.
            status: ``ok``, or ``failed`` for a job that could not do its work.
            verdict: Those of ``schema.MARKS`` that the job has; those that it had before are replaced.

        Raises:
            TrackingError: the job's run is not, or not wholly, in the store.
            ValueError: a metric is NaN, infinite, or has a name that MLflow does not take.
        """
        names.check_metrics(metrics)
        tags = names.job_tags(job)
        tags["almaflow.status"] = "interrupted" if job.interrupted else status.value
        tags |= _described(description_markdown, job)
        ended = milliseconds(job.ended_at if job.ended_at is not None else job.started_at)
        then = f"the results are kept in {job.directory}"
        with session(self.uri, "the job's summary could not be written", then) as client:
            log_batch(client, self.run_id, metrics, {}, ended, tags)
            mark(client, self.run_id, client.get_run(self.run_id).data.tags, verdict or {})
            pages = views.views_of(names.run_name(job), job.started_at, names.job_tags(job))
            views.write(client, self.experiment_id, pages)
            _finish(client, self.run_id, artifacts_dir, _run_status(status, interrupted=job.interrupted), ended)


def mark(client: MlflowClient, run_id: str, tags: Mapping[str, str], marks: Mapping[str, str]) -> None:
    """Set the marks that a run lacks, and take away those that it has no longer: a resumed job has other results."""
    for name in names.MARKS:
        if name in marks and tags.get(name) != marks[name]:
            client.set_tag(run_id, name, marks[name])
        elif name in tags and name not in marks:
            client.delete_tag(run_id, name)


def _finish(client: MlflowClient, run_id: str, artifacts_dir: Path | None, status: str, ended: int) -> None:
    # The figures are stored by now: the run ends as it should even where its files could not be copied.
    try:
        if artifacts_dir is not None:
            if not artifacts_dir.is_dir():  # MLflow copies nothing then, and says nothing
                raise NotADirectoryError(ENOTDIR, "not a directory", str(artifacts_dir))
            copy_to(client, run_id, artifacts_dir)
    finally:
        client.set_terminated(run_id, status=status, end_time=ended)


def _described(note: str, job: Job) -> dict[str, str]:
    return {NOTE: names.cut(names.without_paths(note, job), names.TAG_LENGTH)} if note else {}


def _run_status(status: Status, *, interrupted: bool) -> str:
    """Return MLflow's status of a run: an unavailable conversion is FAILED, since it gave no figure."""
    if interrupted:
        return "KILLED"
    return "FINISHED" if status is Status.OK else "FAILED"
