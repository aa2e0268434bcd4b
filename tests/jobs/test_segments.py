from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.support.example_jobs import job, ok

from almaflow.jobs import segments
from almaflow.jobs.files import JobFiles
from almaflow.jobs.request import make_request
from almaflow.jobs.segments import SegmentJobs
from almaflow.jobs.tasks import new_job
from almaflow.records import ModelSpec, ReferenceInfo, SegmentRef, TensorSpec
from almaflow.segments.backends import resolve_backends
from almaflow.tracking.fingerprints import plan_fingerprint
from almaflow.tracking.uris import display_uri

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.jobs.request import Request
    from almaflow.records import Job

MODEL = ModelSpec("segment_1", pickle_path="model.pkl", batch_dim=None, segment=SegmentRef("1", "f", "made"))
PREPARED = ReferenceInfo((TensorSpec((2, 3), "float32"),), (), 1, "x", "a processor", {}, 0.1)


@pytest.fixture
def jobs() -> SegmentJobs:
    return SegmentJobs(resolve_backends(["local/ONNX_CPU"])[0], measure="quick", experiment_name="mine")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> list[ModelSpec]:
    """The models whose jobs were run; no process is started."""
    models: list[ModelSpec] = []

    def run_job(request: Request, _: object) -> Job:
        models.append(request.model)
        return job()

    monkeypatch.setattr(segments, "run_job", run_job)
    return models


def earlier(jobs: SegmentJobs, home: Path, **changes: object) -> Job:
    """Write the job that measured the segment before."""
    request = make_request(jobs._config, model=MODEL)
    made = replace(new_job(request), job_id="j1", prepared=PREPARED, outcomes=(ok("EAGER"), ok("ONNX_CPU")))
    made = replace(made, directory=str(home / "jobs" / "j1"), ended_at=1.0, tracked=True, store=display_uri(jobs.uri))
    made = replace(made, plan_fingerprint=plan_fingerprint(made, request.plan))
    made = replace(made, **changes)  # type: ignore[arg-type]
    files = JobFiles.of(made.directory)
    files.create()
    files.write_job(made)
    return made


def test_jobs_resume_and_keep_no_converted_model(jobs: SegmentJobs) -> None:
    assert (jobs._config.resume, jobs._config.keep, jobs.experiment_name) == ("true", "none", "mine")
    assert jobs._config.conversions == ["EAGER", "ONNX_CPU"]
    assert jobs.uri.startswith("sqlite:")


def test_the_same_job_again_starts_nothing(jobs: SegmentJobs, home: Path, run: list[ModelSpec]) -> None:
    made = earlier(jobs, home)
    found = jobs.run(replace(MODEL, pickle_path="another/model.pkl"), "j1")
    assert (run, found.job_id, len(found.outcomes)) == ([], made.job_id, 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"environment": {"cpu": "another"}},
        {"tracked": False},
        {"experiment_name": "another"},
        {"plan_fingerprint": "another"},
        {"outcomes": (replace(ok("EAGER"), interrupted=True),)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_job_is_run(jobs: SegmentJobs, home: Path, run: list[ModelSpec], changes: dict[str, object]) -> None:
    made = earlier(jobs, home, **changes)
    if "environment" in changes:  # it was measured there
        request = make_request(jobs._config, model=MODEL)
        JobFiles.of(made.directory).write_job(replace(made, plan_fingerprint=plan_fingerprint(made, request.plan)))
    jobs.run(MODEL, "j1")
    assert run == [MODEL]


def test_another_plan_or_a_job_that_is_gone_is_run(jobs: SegmentJobs, home: Path, run: list[ModelSpec]) -> None:
    earlier(jobs, home)
    SegmentJobs(resolve_backends(["local/tier1"])[0], measure="quick", experiment_name="mine").run(MODEL, "j1")
    jobs.run(MODEL, "j2")
    jobs.run(MODEL)
    assert len(run) == 3
