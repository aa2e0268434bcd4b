"""A store that does not answer is borne, except by a job that has to ask it what to measure."""

from __future__ import annotations

import pytest

from almaflow.errors import TrackingError
from almaflow.jobs import store as job_store
from almaflow.jobs.store import JobStore
from almaflow.measure.progress import Progress

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
