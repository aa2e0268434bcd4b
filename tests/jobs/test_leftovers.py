"""What a killed process left of its job is an outcome where something was under way, and is removed where not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.support.example_jobs import failed, in_rounds, measured, ok, planned
from tests.support.fake_workers import CRASHED, HARDWARE, SPEC

from almaflow.jobs.files import JobFiles
from almaflow.jobs.leftovers import remove_dead, take_up
from almaflow.records import Measurement, ModelSpec, Outcome, Status, WorkerResult, WorkerTask, write_json
from almaflow.records.kept_rounds import NAME, KeptRound, keep_round

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.records import Failure

NINE = (1.0,) * 9


@pytest.fixture
def files(home: Path) -> JobFiles:
    made = JobFiles.of(home / "jobs" / "killed")
    made.create()
    return made


def timed(*medians_ms: float, replicate: int = 0) -> Measurement:
    found = in_rounds(ok(), medians_ms, first=0).measurement
    assert found is not None
    rounds = tuple(replace(each, replicate=replicate) for each in found.rounds)
    return replace(found, rounds=rounds, stable=False)


def begun(
    files: JobFiles,
    measurement: Measurement | None,
    *,
    replicate: int = 0,
    replicates: int = 1,
    in_result: int = 1,
    failure: Failure | None = None,
    finished: bool = False,
) -> Path:
    """A conversion with a process under way: the first rounds are in its result, and all in the file of its rounds."""
    directory = files.root / "conversions" / "00-EAGER"
    work = directory / "work"
    work.mkdir(parents=True)
    spec = replace(SPEC, replicates=replicates)
    task = WorkerTask(ModelSpec("m"), HARDWARE, spec, planned(), str(work), "", replicate=replicate)
    write_json(work / "task.json", task)
    (work / "worker.log").write_text(f"process {replicate}", encoding="utf-8")
    if measurement is None:
        return directory
    first = 0
    for each in measurement.rounds:
        samples = measurement.samples_ms[first : first + each.count]
        first += each.count
        keep_round(str(work), KeptRound(each, samples, (), 8.0, 700.0, None))
    count = sum(each.count for each in measurement.rounds[:in_result])
    known = replace(measurement, rounds=measurement.rounds[:in_result], samples_ms=measurement.samples_ms[:count])
    write_json(work / "result.json", WorkerResult(measurement=known, failure=failure, finished=finished))
    return directory


def taken_up(files: JobFiles) -> Outcome:
    take_up(files)
    assert not list(files.root.rglob("work"))
    ((directory, outcome),) = files.outcomes().values()
    assert outcome.log_path is not None
    assert (directory / outcome.log_path).exists()
    return outcome


def test_every_round_that_was_taken_is_kept_as_interrupted(files: JobFiles) -> None:
    begun(files, timed(1.0, 2.0, 3.0))
    outcome = taken_up(files)
    assert (outcome.status, outcome.interrupted, outcome.failure) == (Status.FAILED, True, None)
    assert outcome.planned == planned()
    assert outcome.measurement == timed(1.0, 2.0, 3.0)
    assert outcome.started_at <= outcome.ended_at


def test_half_a_line_is_no_round(files: JobFiles) -> None:
    directory = begun(files, timed(1.0, 2.0, 3.0))
    whole = (directory / "work" / NAME).read_bytes()
    (directory / "work" / NAME).write_bytes(whole[:-20])
    assert taken_up(files).measurement == timed(1.0, 2.0)


def test_processes_that_had_ended_come_before_the_one_under_way(files: JobFiles) -> None:
    directory = begun(files, timed(4.0, 5.0, replicate=1), replicate=1, replicates=3)
    earlier = replace(ok(), status=Status.FAILED, measurement=timed(1.0, 2.0), interrupted=True)
    files.write_outcome(directory, earlier)
    (directory / "worker.log").write_text("process 0", encoding="utf-8")
    outcome = taken_up(files)
    assert outcome.interrupted
    assert outcome.started_at == earlier.started_at
    assert outcome.measurement is not None
    assert [(each.replicate, each.index) for each in outcome.measurement.rounds] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert (directory / "worker.log").read_text(encoding="utf-8") == "process 0"
    assert (directory / "worker-1.log").read_text(encoding="utf-8") == "process 1"


@pytest.mark.parametrize("interrupted", [True, False])
def test_what_was_kept_already_is_not_there_twice(files: JobFiles, *, interrupted: bool) -> None:
    """The process was killed after the outcome was written, and before the worker's directory was removed."""
    directory = begun(files, timed(*NINE), in_result=9, finished=True)
    kept = replace(ok(), status=Status.FAILED if interrupted else Status.OK, measurement=timed(*NINE))
    files.write_outcome(directory, replace(kept, interrupted=interrupted, log_path="worker.log"))
    assert taken_up(files).measurement == timed(*NINE)
    assert (directory / "worker.log").exists()
    assert not (directory / "worker-1.log").exists()


def test_one_whose_worker_had_finished_is_measured(files: JobFiles) -> None:
    begun(files, timed(*NINE), in_result=9, finished=True)
    outcome = taken_up(files)
    assert (outcome.status, outcome.interrupted) == (Status.OK, False)
    assert outcome.measurement == replace(timed(*NINE), stable=True)


def test_one_of_several_processes_that_had_finished_is_not_all(files: JobFiles) -> None:
    begun(files, timed(*NINE), in_result=9, finished=True, replicates=2)
    assert taken_up(files).interrupted


def test_a_failure_is_one(files: JobFiles) -> None:
    begun(files, timed(1.0), failure=CRASHED, finished=True)
    outcome = taken_up(files)
    assert (outcome.status, outcome.failure, outcome.interrupted) == (Status.FAILED, CRASHED, False)


@pytest.mark.parametrize("left", [None, measured([], fidelity=None)], ids=["nothing", "a check"])
def test_one_that_was_getting_ready_is_interrupted(files: JobFiles, left: Measurement | None) -> None:
    begun(files, left)
    outcome = taken_up(files)
    assert (outcome.status, outcome.interrupted, outcome.measurement) == (Status.FAILED, True, None)


def test_a_worker_without_a_task_was_not_begun(files: JobFiles) -> None:
    directory = begun(files, None)
    (directory / "work" / "task.json").unlink()
    take_up(files)
    assert files.outcomes() == {}
    assert not (directory / "work").exists()


def test_what_only_the_workers_needed_is_removed(files: JobFiles) -> None:
    kept = failed("COMPILE_TVM")
    files.write_outcome(files.conversion_dir(0, kept.planned), kept)
    for path in ("prepare", "references/00-EAGER-1/work", "conversions/00-COMPILE_TVM/cache"):
        (files.root / path).mkdir(parents=True)
    for file in (files.reference, files.server_log, files.root / "prepare" / "task.json"):
        file.touch()
    take_up(files)
    found = {str(path.relative_to(files.root)) for path in files.root.rglob("*") if path.is_file()}
    assert found == {"conversions/00-COMPILE_TVM/outcome.json"}
    assert not (files.root / "references" / "00-EAGER-1" / "work").exists()


def test_a_job_that_died_before_it_had_begun_is_removed_and_one_that_runs_is_not(home: Path) -> None:
    made = {name: JobFiles.of(home / "jobs" / name) for name in ("dead", "preparing", "begun", "measured")}
    for each in made.values():
        each.create()
        (each.make_prepare_dir() / "task.json").touch()
        each.reference.touch()
        with each.locked():
            pass  # as it was when its process died
    (made["begun"].root / "job.json").touch()
    (made["measured"].root / "conversions").mkdir()
    with made["preparing"].locked():
        remove_dead()
    assert {name for name, each in made.items() if each.root.exists()} == {"preparing", "begun", "measured"}
    assert made["preparing"].reference.exists()


def test_without_a_home_there_is_nothing_to_remove(home: Path) -> None:
    remove_dead()
    assert not home.exists()
