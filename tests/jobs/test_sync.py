"""One job that cannot be written, or read, is told with its directory; all the others are written."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from tests.support.damaged_records import damaged
from tests.support.example_jobs import in_rounds, ok
from tests.support.stored_jobs import PLAN, new

from almaflow import machine
from almaflow.cli import main
from almaflow.errors import RecordError, TrackingError, UsageError
from almaflow.jobs import sync as jobs_sync
from almaflow.jobs.files import JobFiles
from almaflow.jobs.resume import resume
from almaflow.jobs.sync import pending, sync
from almaflow.records import write_json
from almaflow.tracking.store import prepare
from almaflow.tracking.uris import resolve_uri

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlflow.entities import Run

    from almaflow.records import Job, Outcome

EAGER, ONNX = in_rounds(ok("EAGER"), [20.0, 20.0]), in_rounds(ok("ONNX_CPU"), [10.0, 10.0])

DAMAGES = {
    "null": b"null",
    "a list": b"[]",
    "cut in half": b'{"job_id": "b", "directo',
    "not UTF-8": b"\xff\xfe\x00",
    "newer": b'{"form": 99, "almaflow": "9.9"}',
    "keys missing": b'{"job_id": "b"}',
}


def waiting(job_id: str, *outcomes: Outcome, made: Job | None = None) -> JobFiles:
    """A job that was killed before the store had heard of it."""
    job = replace(made or new(job_id), job_id=job_id, directory=str(machine.home() / "jobs" / job_id))
    files = JobFiles.of(job.directory)
    files.create()
    for index, outcome in enumerate(outcomes):
        files.write_outcome(files.conversion_dir(index, outcome.planned), outcome)
    files.write_job(replace(job, outcomes=outcomes, store=resolve_uri(None)))
    return files


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> dict[str, Exception | None]:
    """The jobs that were to be written; one that is there with an error before raises it."""
    jobs: dict[str, Exception | None] = {}

    def close(files: JobFiles, job: Job, uri: str) -> Job:  # noqa: ARG001 - as the real one
        if error := jobs.setdefault(job.job_id, None):
            raise error
        unreadable: list[RecordError] = []
        files.outcomes(unreadable)
        return replace(job, run_id="run", tracked=not unreadable)

    monkeypatch.setattr(jobs_sync, "close_in_store", close)
    monkeypatch.setattr(jobs_sync, "answers", lambda _: True)
    return jobs


@pytest.fixture
def synced(capsys: pytest.CaptureFixture[str]) -> Callable[[], tuple[int, str]]:
    """Runs the command and gives its exit code and all that it printed."""

    def run() -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["sync"])
        return int(str(ended.value.code or 0)), "".join(capsys.readouterr())

    return run


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_record_that_cannot_be_read_stops_no_other_job(
    damage: str, written: dict[str, Exception | None], synced: Callable[[], tuple[int, str]]
) -> None:
    waiting("a", EAGER)
    path = waiting("b", EAGER).root / "job.json"
    path.write_bytes(DAMAGES[damage])
    waiting("c", EAGER)
    code, said = synced()
    assert list(written) == ["a", "c"]
    assert code == 1
    assert str(path) in said
    assert "has everything" not in said
    assert ("9.9" in said) == (damage == "newer")
    assert [job.job_id for _, job in pending()] == ["a", "c"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_outcome_that_cannot_be_read_is_told_and_the_rest_of_its_job_is_written(
    damage: str, written: dict[str, Exception | None], synced: Callable[[], tuple[int, str]]
) -> None:
    files = waiting("a", EAGER, ONNX)
    path = files.root / "conversions" / "01-ONNX_CPU" / "outcome.json"
    path.write_bytes(DAMAGES[damage])
    waiting("b", EAGER)
    code, said = synced()
    assert list(written) == ["a", "b"]
    assert (code, str(path) in said, "job b, 1 conversions: written" in said) == (1, True, True)
    path.unlink()
    assert synced()[0] == 0
    assert files.outcomes()["ONNX_CPU"][1].measurement == ONNX.measurement


@pytest.mark.parametrize(
    "error", [TrackingError("File name too long"), UsageError("was deleted"), ZeroDivisionError("division by zero")]
)
def test_what_one_job_raises_is_told_with_its_directory_and_the_others_go_on(
    error: Exception, written: dict[str, Exception | None], synced: Callable[[], tuple[int, str]]
) -> None:
    directories = [str(waiting(job_id, EAGER).root) for job_id in "abc"]
    written["b"] = error
    code, said = synced()
    assert code == 1
    assert [line.split(",")[1].strip() for line in said.splitlines() if line.endswith(": written")] == [
        "job a",
        "job c",
    ]
    assert directories[1] in said
    assert str(error) in said


class NoStore:
    """The MLflow side of a job that takes all there is."""

    run_id = "run"

    def close(self, *_: object) -> None:
        """Take the job's figures."""


def test_any_value_in_any_place_of_a_record_stops_no_other_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record may be readable and senseless: then the figures that are computed of it raise."""
    monkeypatch.setattr(jobs_sync, "catch_up", lambda *_: (NoStore(), {}))
    monkeypatch.setattr(jobs_sync, "write_summary", lambda *_: "")
    files = {job_id: waiting(job_id, EAGER, ONNX) for job_id in "abc"}
    record = files["b"].read_job()

    @settings(max_examples=12)
    @given(changed=damaged(record))
    def sync_beside(changed: dict[str, Any]) -> None:
        for each in files.values():
            each.tracked.unlink(missing_ok=True)
        for job_id in "ac":
            files[job_id].write_job(replace(record, job_id=job_id))
        (files["b"].root / "job.json").write_text(json.dumps(changed), encoding="utf-8")
        done = {each.directory.name: each.why_not for each in sync(resolve_uri(None))}
        assert (done["a"], done["c"]) == (None, None)
        assert files["a"].tracked.exists()
        assert files["c"].tracked.exists()

    sync_beside()


def test_a_store_that_does_not_answer_ends_the_whole(
    written: dict[str, Exception | None], monkeypatch: pytest.MonkeyPatch, synced: Callable[[], tuple[int, str]]
) -> None:
    waiting("a", EAGER)
    waiting("b", EAGER)
    written["a"] = TrackingError("connection refused")
    monkeypatch.setattr(jobs_sync, "answers", lambda _: False)
    assert synced() == (1, "almaflow: connection refused\n")
    assert list(written) == ["a"]


def test_a_job_that_was_ended_before_a_new_outcome_takes_no_negative_time(written: dict[str, Exception | None]) -> None:
    """The outcomes of a resumed job are older than its start."""
    waiting("a", EAGER, made=replace(new("a"), started_at=1000.0))
    (done,) = sync(resolve_uri(None))
    assert written == {"a": None}
    assert done.job
    assert done.job.ended_at == 1000.0


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_sweep_that_cannot_be_read_is_left_out(
    damage: str, written: dict[str, Exception | None], synced: Callable[[], tuple[int, str]]
) -> None:
    record = machine.home() / "sweeps" / "s" / "sweep.json"
    record.parent.mkdir(parents=True)
    record.write_bytes(DAMAGES[damage])
    waiting("a", EAGER)
    code, said = synced()
    assert (code, list(written)) == (0, ["a"])
    assert "Traceback" not in said


# ---- with a real store


def runs(job_id: str) -> dict[str, Run]:
    from mlflow import MlflowClient

    client = MlflowClient(resolve_uri(None))
    found = client.search_runs(
        [each.experiment_id for each in client.search_experiments()], f"tags.`almaflow.job_id` = '{job_id}'"
    )
    return {run.data.params.get("conversion", "job"): run for run in found}


@pytest.mark.slow
def test_a_store_gets_what_its_good_jobs_measured_whatever_is_beside_them(
    synced: Callable[[], tuple[int, str]],
) -> None:
    """Beside them: a damaged record, a damaged outcome, an impossible name, and a run deleted in MLflow's pages."""
    from mlflow import MlflowClient

    uri = resolve_uri(None)
    waiting("a", EAGER).root.joinpath("job.json").write_text("null", encoding="utf-8")
    cut = waiting("b", EAGER, ONNX).root / "conversions" / "01-ONNX_CPU" / "outcome.json"
    cut.write_bytes(cut.read_bytes()[:100])
    waiting("c", EAGER, made=replace(new("c"), experiment_name="n" * 300))
    experiment_id = prepare(uri, "almaflow")
    client = MlflowClient(uri)
    for job_id, outcomes in ("d", ()), ("e", (EAGER,)):
        run_id = client.create_run(experiment_id, tags={"almaflow.kind": "job", "almaflow.job_id": job_id}).info.run_id
        waiting(job_id, *outcomes, made=replace(new(job_id), run_id=run_id))
        client.delete_run(run_id)
    waiting("f", EAGER, ONNX)
    code, said = synced()
    assert code == 1
    assert {job_id: sorted(runs(job_id)) for job_id in "abcdef"} == {
        "a": [],
        "b": ["EAGER", "job"],
        "c": ["EAGER", "job"],  # whose files could not be copied
        "d": [],
        "e": ["EAGER", "job"],
        "f": ["EAGER", "ONNX_CPU", "job"],
    }
    told = [line for line in said.splitlines() if ": not written: " in line]
    assert [line.split(": not written")[0].split(",")[-2:] for line in told] == [
        ["a"],
        [" job b", " 2 conversions"],
        [" job c", " 1 conversions"],
    ]
    assert "job d, 0 conversions: its runs were deleted from the store, and stay so" in said
    assert [line.split(":")[0] for line in synced()[1].splitlines() if line.endswith(": written")] == []
    assert [run.info.status for run in runs("e").values() if run.data.tags["almaflow.kind"] == "job"] == ["KILLED"]


@pytest.mark.slow
def test_resume_writes_only_jobs_that_are_a_part_of_its_own_and_says_that_others_wait() -> None:
    uri = resolve_uri(None)
    waiting("a", EAGER).root.joinpath("job.json").write_text("[]", encoding="utf-8")
    waiting("b", ONNX, made=replace(new("b"), experiment_name="another"))
    waiting("c", EAGER)
    warned: list[str] = []
    resumed = resume(new("later"), PLAN, uri, failures_only=False, warn=warned.append)
    assert [each.planned.name for each in resumed.job.outcomes] == ["EAGER"]
    assert [job.job_id for _, job in pending(uri)] == ["b"]
    assert warned == ["earlier jobs not wholly in the store: 2; `almaflow sync` writes them, or says why not"]


@pytest.mark.slow
def test_an_earlier_job_whose_record_is_damaged_is_left_alone_by_resume() -> None:
    files = waiting("earlier", EAGER)
    list(sync(resolve_uri(None)))
    (files.root / "job.json").write_text("null", encoding="utf-8")
    warned: list[str] = []
    resumed = resume(new("later"), PLAN, resolve_uri(None), failures_only=False, warn=warned.append)
    assert resumed.job.job_id == "later"
    assert [each.planned.name for each in resumed.job.outcomes] == ["EAGER"]
    assert len(warned) == 1
    assert str(files.root) in warned[0]


def test_what_is_written_for_the_report_says_its_form(tmp_path: Path) -> None:
    from almaflow.analysis import to_output

    write_json(tmp_path / "output.json", to_output(new("a")))
    assert json.loads((tmp_path / "output.json").read_text(encoding="utf-8"))["form"] == 1


def test_a_job_whose_home_was_moved_waits_for_the_store_that_was_moved_with_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: dict[str, Exception | None]
) -> None:
    waiting("a", EAGER)
    elsewhere = waiting("b", EAGER)
    elsewhere.write_job(replace(elsewhere.read_job(), store="sqlite:////other/mlflow.db"))
    home.rename(tmp_path / "moved")
    monkeypatch.setenv("ALMAFLOW_HOME", str(tmp_path / "moved"))
    (done,) = sync(resolve_uri(None))
    assert done.job
    assert (done.job.job_id, done.why_not) == ("a", None)
    assert done.job.directory == str(tmp_path / "moved" / "jobs" / "a")
    assert list(written) == ["a"]


def test_a_directory_that_cannot_be_read_is_told_and_the_others_are_written(
    monkeypatch: pytest.MonkeyPatch, written: dict[str, Exception | None], synced: Callable[[], tuple[int, str]]
) -> None:
    waiting("a", EAGER)
    closed = waiting("b", EAGER).root
    waiting("c", EAGER)
    monkeypatch.setattr(os, "access", lambda path, *_, **__: path != closed)
    code, said = synced()
    assert (code, list(written)) == (1, ["a", "c"])
    assert f"{closed} cannot be read" in said
