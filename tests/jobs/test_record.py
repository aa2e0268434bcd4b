"""A job's record, whatever interrupts it: what is known is on disk and told to the store."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.example_jobs import in_rounds, job, ok, planned

from almaflow.errors import AlmaflowError
from almaflow.jobs.files import JobFiles
from almaflow.jobs.keep_setting import NOTHING
from almaflow.jobs.record import JobRecord
from almaflow.measure.conversion_run import ConversionRun
from almaflow.measure.progress import Progress
from almaflow.records import Status

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.analysis import Row
    from almaflow.records import Job, Measurement, Outcome

PLAN = (planned("EAGER"), planned("ONNX_CPU"))
DONE = in_rounds(ok("EAGER"), [20.0])


class Store:
    """A store that remembers what it was told."""

    def __init__(self) -> None:
        self.logged: list[Outcome] = []
        self.closed: tuple[Job, Status] | None = None
        self.interrupted_in_log = False

    def log(self, _job: Job, row: Row, _: Path) -> str:
        if self.interrupted_in_log:
            raise KeyboardInterrupt
        self.logged.append(row.outcome)
        return f"run of {row.name}"

    def close(self, _files: JobFiles, made: Job, status: Status) -> Job:
        self.closed = made, status
        return made


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def files(tmp_path: Path) -> JobFiles:
    return JobFiles.of(tmp_path)


@pytest.fixture
def record(store: Store, files: JobFiles) -> JobRecord:
    request = SimpleNamespace(plan=PLAN, keep=NOTHING)
    context: Any = SimpleNamespace(request=request, store=store, progress=Progress())
    predictions: Any = SimpleNamespace(outcomes=lambda _job, outcomes: outcomes)
    return JobRecord(context, replace(job(), directory=str(files.root)), files, predictions)


def run_of(files: JobFiles, name: str, outcome: Outcome | None = None) -> ConversionRun:
    index = [each.name for each in PLAN].index(name)
    run = ConversionRun(PLAN[index], files.conversion_dir(index, PLAN[index]))
    run.outcome = outcome
    return run


def timed(outcome: Outcome) -> Measurement:
    assert outcome.measurement is not None
    return outcome.measurement


def closed(store: Store) -> tuple[Job, Status]:
    assert store.closed is not None
    return store.closed


def names(made: Job) -> list[str]:
    return [each.planned.name for each in made.outcomes]


def test_what_a_process_measured_is_on_disk_before_the_next_one_starts(
    record: JobRecord, files: JobFiles, store: Store
) -> None:
    run = run_of(files, "EAGER")
    run.measurements.append(timed(DONE))
    record.keep([run])
    _, kept = files.outcomes()["EAGER"]
    assert kept.interrupted
    assert kept.measurement == timed(DONE)
    assert not store.logged  # it is no result yet
    assert names(record.job) == []
    run.outcome = DONE
    record.keep([run])
    assert files.outcomes()["EAGER"][1] == DONE
    assert store.logged == [DONE]


def test_a_further_interrupt_ends_the_job_as_interrupted(record: JobRecord, files: JobFiles, store: Store) -> None:
    """It came while the first one was heeded: what was under way has not been given."""
    under_way = run_of(files, "ONNX_CPU")
    under_way.measurements.append(timed(DONE))
    store.interrupted_in_log = True
    with record.closed_at_end():
        record.keep([run_of(files, "EAGER", DONE), under_way])
    made, _ = closed(store)
    assert made.interrupted
    assert names(made) == ["EAGER", "ONNX_CPU"]
    assert [each.interrupted for each in made.outcomes] == [False, True]
    assert files.read_job().interrupted


def test_an_interrupt_while_an_outcome_is_kept_loses_it_neither_on_disk_nor_in_the_job(
    record: JobRecord, files: JobFiles, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(JobFiles, "write_outcome", interrupted)
    with record.closed_at_end():
        record.keep([run_of(files, "EAGER", DONE)])
    assert files.outcomes()["EAGER"][1] == DONE
    assert names(closed(store)[0]) == ["EAGER"]


@pytest.mark.parametrize(("count", "status"), [(2, Status.OK), (1, Status.FAILED)])
def test_a_job_is_ok_only_where_nothing_of_its_plan_is_missing(
    record: JobRecord, files: JobFiles, store: Store, count: int, status: Status
) -> None:
    with record.closed_at_end():
        record.keep([run_of(files, each.name, replace(DONE, planned=each)) for each in PLAN[:count]])
    assert closed(store) == (record.job, status)
    assert not record.job.interrupted


def test_a_job_whose_disk_is_full_leaves_nothing_that_only_workers_needed(
    record: JobRecord, files: JobFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for path in (files.reference, files.server_log):
        path.touch()
    monkeypatch.setattr(JobFiles, "write_outcome", full)
    with pytest.raises(AlmaflowError, match="free some space"), record.closed_at_end():
        record.keep([run_of(files, "EAGER", DONE)])
    assert not files.reference.exists()
    assert not files.server_log.exists()


def test_the_table_comes_before_the_store_is_brought_up_to_date_and_cannot_keep_it_from_that(
    files: JobFiles, store: Store
) -> None:
    class Shows(Progress):
        seen: Job | None = None

        def measured(self, job: Job) -> None:
            assert store.closed is None
            Shows.seen = job
            message = "stdout is closed"
            raise ValueError(message)

    context: Any = SimpleNamespace(request=SimpleNamespace(plan=PLAN, keep=NOTHING), store=store, progress=Shows())
    predictions: Any = SimpleNamespace(outcomes=lambda _job, outcomes: outcomes)
    shown = JobRecord(context, replace(job(), directory=str(files.root)), files, predictions)
    with pytest.raises(ValueError, match="stdout is closed"), shown.closed_at_end():
        shown.keep([run_of(files, "EAGER", DONE)])
    assert Shows.seen is not None
    assert names(Shows.seen) == ["EAGER"]
    assert Shows.seen.ended_at is not None
    made, _ = closed(store)
    assert made.outcomes == Shows.seen.outcomes
