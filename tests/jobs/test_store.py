"""A store that does not answer is borne, except by a job that has to ask it what to measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.stored_jobs import new

from almaflow.errors import TrackingError, UsageError
from almaflow.jobs import store as job_store
from almaflow.jobs.files import JobFiles
from almaflow.jobs.store import JobStore
from almaflow.measure.progress import Progress
from almaflow.records import Status

if TYPE_CHECKING:
    from pathlib import Path

AWAY = "http://127.0.0.1:1"


class Warned(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warn(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(autouse=True)
def _away(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        message = "connection refused"
        raise TrackingError(message)

    monkeypatch.setattr(job_store, "prepare", refuse)


def test_a_job_goes_on_without_its_store() -> None:
    progress = Warned()
    JobStore(AWAY, progress).prepare("x")
    assert progress.lines == ["connection refused; the job goes on, and `almaflow sync` writes what is missing"]


def test_resume_is_refused_without_its_store_in_one_true_line() -> None:
    progress = Warned()
    with pytest.raises(TrackingError) as caught:
        JobStore(AWAY, progress, needed=True).prepare("x")
    assert progress.lines == []
    assert str(caught.value) == f"connection refused; {job_store.NEEDED}"
    assert "\n" not in str(caught.value)


def test_an_experiment_that_is_deleted_meanwhile_is_borne_once_something_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object, **__: object) -> None:
        message = "the experiment was deleted"
        raise UsageError(message)

    monkeypatch.setattr(job_store, "prepare", refuse)
    monkeypatch.setattr(job_store, "close_in_store", refuse)
    progress = Warned()
    store = JobStore(AWAY, progress)
    with pytest.raises(UsageError):
        store.prepare("x")
    made = new("a")
    assert store.close(JobFiles.of(tmp_path), made, Status.OK) is made
    assert progress.lines == ["the experiment was deleted; the job goes on, and `almaflow sync` writes what is missing"]
