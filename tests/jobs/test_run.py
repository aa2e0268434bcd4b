"""A job at its beginning: whenever its process dies, what it began can be ended by another one."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.example_jobs import planned
from tests.support.stored_jobs import new

from almaflow.errors import UsageError
from almaflow.jobs import run
from almaflow.jobs.files import BusyError, JobFiles
from almaflow.jobs.resume import Resumed
from almaflow.jobs.store import JobStore
from almaflow.jobs.sync import pending
from almaflow.measure.progress import Progress
from almaflow.records import Resume

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.records import Job

PLAN = (planned("EAGER"),)


def held(files: JobFiles) -> bool:
    try:
        with files.locked():
            return False
    except BusyError:
        return True


def test_a_job_has_its_record_and_its_lock_before_the_store_hears_of_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, seen = new("begun", PLAN), []
    root = home / "jobs" / "begun"

    def prepare(*_: object) -> tuple[Job, None]:
        seen.append(("preparing", held(JobFiles.of(root))))
        return made, None

    def opened(_store: JobStore, job: Job) -> Job:
        seen.append((job.job_id, held(JobFiles.of(root))))
        assert [waiting.job_id for _, waiting in pending()] == ["begun"]  # `almaflow sync` would end its run
        message = "the experiment was deleted"
        raise UsageError(message)

    monkeypatch.setattr(run, "new_job", lambda _request: made)
    launcher = SimpleNamespace(ask=lambda _task: SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(run, "Launcher", lambda *_: nullcontext(launcher))
    monkeypatch.setattr(run, "reference_task", lambda *_: None)
    monkeypatch.setattr(run, "_prepare", prepare)
    monkeypatch.setattr(run, "_predict", lambda *_: None)
    monkeypatch.setattr(run, "_look_up", lambda _request, job: Resumed(job, PLAN, ()))
    monkeypatch.setattr(JobStore, "prepare", lambda *_: None)
    monkeypatch.setattr(JobStore, "past", lambda *_: ())
    monkeypatch.setattr(JobStore, "open", opened)
    request: Any = SimpleNamespace(
        uri="sqlite:///nowhere.db",
        experiment_name="almaflow",
        model=made.model,
        hardware=made.hardware,
        measure=SimpleNamespace(exclusive="ignore"),
        plan=PLAN,
        resume=Resume.NO,
    )
    with pytest.raises(UsageError):
        run.run_job(request, Progress())
    assert seen == [("preparing", True), ("begun", True)]
    assert not root.exists()  # nothing was begun in the end
