"""A job at its beginning: whenever its process dies, what it began can be ended by another one."""

from __future__ import annotations

import errno
import os
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.example_jobs import planned
from tests.support.stored_jobs import new

from almaflow.errors import AlmaflowError, UsageError
from almaflow.jobs import run
from almaflow.jobs.files import JobFiles
from almaflow.jobs.keep_setting import NOTHING
from almaflow.jobs.resume import Resumed
from almaflow.jobs.store import JobStore
from almaflow.jobs.sync import pending
from almaflow.machine.directory_lock import BusyError
from almaflow.machine.lock import NAME_FOR_TESTS, alone
from almaflow.measure.progress import Progress
from almaflow.records import Resume

if TYPE_CHECKING:
    from almaflow.records import Job

PLAN = (planned("EAGER"),)


def held(files: JobFiles) -> bool:
    try:
        with files.locked():
            return False
    except BusyError:
        return True


@pytest.fixture
def begun(home: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job whose workers and store do nothing."""
    made = new("begun", PLAN)
    assert made.directory == str(home / "jobs" / "begun")
    launcher = SimpleNamespace(ask=lambda _task: SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(run, "new_job", lambda _request: made)
    monkeypatch.setattr(run, "Launcher", lambda *_: nullcontext(launcher))
    monkeypatch.setattr(run, "reference_task", lambda *_: None)
    monkeypatch.setattr(run, "_prepare", lambda *_: (made, None))
    monkeypatch.setattr(run, "_predict", lambda *_: None)
    monkeypatch.setattr(run, "_look_up", lambda _request, job: Resumed(job, PLAN, ()))
    monkeypatch.setattr(JobStore, "prepare", lambda *_: None)
    monkeypatch.setattr(JobStore, "past", lambda *_: ())
    monkeypatch.setattr(JobStore, "open", lambda _store, job: job)
    return made


def request_of(made: Job, exclusive: str = "ignore") -> Any:
    return SimpleNamespace(
        uri="sqlite:///nowhere.db",
        experiment_name="almaflow",
        model=made.model,
        hardware=made.hardware,
        measure=SimpleNamespace(exclusive=exclusive),
        plan=PLAN,
        resume=Resume.NO,
        keep=NOTHING,
        elsewhere=None,
    )


def test_a_job_has_its_record_and_its_lock_before_the_store_hears_of_it(
    begun: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, seen = Path(begun.directory), []

    def prepare(*_: object) -> tuple[Job, None]:
        seen.append(("preparing", held(JobFiles.of(root))))
        return begun, None

    def opened(_store: JobStore, job: Job) -> Job:
        seen.append((job.job_id, held(JobFiles.of(root))))
        assert [waiting.job_id for _, waiting in pending()] == ["begun"]  # `almaflow sync` would end its run
        message = "the experiment was deleted"
        raise UsageError(message)

    monkeypatch.setattr(run, "_prepare", prepare)
    monkeypatch.setattr(JobStore, "open", opened)
    with pytest.raises(UsageError):
        run.run_job(request_of(begun), Progress())
    assert seen == [("preparing", True), ("begun", True)]
    assert not root.exists()  # nothing was begun in the end


def test_the_first_line_does_not_wait_for_the_workers_nor_for_the_store(
    begun: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    class Told(Progress):
        def phase(self, name: str, phase: str) -> None:
            told.append(f"{name}: {phase}")

    def prepare(*_: object) -> None:
        assert told == [f"{begun.model.name}: start"]
        raise KeyboardInterrupt

    monkeypatch.setattr(JobStore, "prepare", prepare)
    with pytest.raises(KeyboardInterrupt):
        run.run_job(request_of(begun), Told())


def test_models_are_logged_when_the_machine_is_free_for_other_jobs(begun: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME_FOR_TESTS, "models are logged")
    seen: list[tuple[str, bool, bool]] = []

    def look(stage: str) -> None:
        try:
            with alone("refuse", lambda _: None):
                free = True
        except AlmaflowError:
            free = False
        seen.append((stage, free, held(JobFiles.of(begun.directory))))

    def log_models(_store: JobStore, _files: JobFiles, job: Job) -> Job:
        look("models")
        return job

    monkeypatch.setattr(run, "_measure", lambda *_: look("measuring"))
    monkeypatch.setattr(JobStore, "log_models", log_models)
    run.run_job(request_of(begun, "refuse"), Progress())
    # Nobody else may write to the job meanwhile, as `almaflow sync` would.
    assert seen == [("measuring", False, True), ("models", True, True)]


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EAGAIN, "ulimit -u"), (errno.ENOSPC, "free some space"), (errno.EMFILE, "ulimit -n")]
)
def test_a_job_that_the_machine_does_not_let_begin_says_so_and_leaves_nothing(
    tmp_path: Path, number: int, words: str
) -> None:
    files = JobFiles.of(tmp_path / "job")
    with pytest.raises(AlmaflowError, match=f"cannot begin .*{words}"), run._discarded_on_error(files):
        raise OSError(number, os.strerror(number))
    assert not files.root.exists()
