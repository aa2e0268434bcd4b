"""What the store lacks of a job is written there once, whatever it has of it already."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.concurrent_writers import NAMES, write_at_once
from tests.support.example_jobs import failed, job, ok

from almaflow.records import Status, write_json
from almaflow.tracking.replay import Result, catch_up, mark_again
from almaflow.tracking.schema import CHOSEN, MARKS, PARETO
from almaflow.tracking.writer import NEUTRAL_TAGS, Tracker

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from almaflow.records import Job, Outcome

pytestmark = pytest.mark.slow

EAGER, ONNX = ok("EAGER"), ok("ONNX_CPU", 10.0)


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('replay')}/mlflow.db"


@pytest.fixture
def made(tmp_path: Path) -> Job:
    return replace(job(EAGER, ONNX), job_id=tmp_path.name, directory=str(tmp_path), ended_at=500.0)


def client_of(uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def result(made: Job, outcome: Outcome, **metrics: float) -> Result:
    directory = Path(made.directory) / "conversions" / outcome.planned.name
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / "outcome.json", outcome)
    return Result(outcome, {"latency_ms": 1.0, **metrics}, directory)


def results(made: Job) -> list[Result]:
    return [result(made, outcome) for outcome in made.outcomes]


def stored(uri: str, made: Job) -> dict[str, list[Run]]:
    """The job's runs that are there, by conversion, its own under 'job'."""
    client = client_of(uri)
    experiments = [each.experiment_id for each in client.search_experiments()]
    found: dict[str, list[Run]] = {}
    for run in client.search_runs(experiments, f"tags.`almaflow.job_id` = '{made.job_id}'"):
        found.setdefault(run.data.params.get("conversion", run.data.tags["almaflow.kind"]), []).append(run)
    return found


def whole(uri: str, made: Job) -> dict[str, str]:
    """The IDs of the job's runs, each of which is there once, ended, with its figures and files."""
    found = stored(uri, made)
    assert set(found) == {"job", *(outcome.planned.name for outcome in made.outcomes)}
    for name, (run, *more) in found.items():
        assert not more, f"{name} is there {len(more) + 1} times"
        if name != "job":
            assert run.info.end_time is not None
            assert run.data.metrics["latency_ms"] == 1.0
            files = client_of(uri).list_artifacts(run.info.run_id)
            assert [entry.path for entry in files] == ["outcome.json"]
    return {name: runs[0].info.run_id for name, runs in found.items()}


def test_a_job_that_the_store_never_heard_of(uri: str, made: Job) -> None:
    tracker, written = catch_up(uri, made, results(made))
    assert tracker
    assert whole(uri, made) == {"job": tracker.run_id, **written}


def test_again_changes_nothing(uri: str, made: Job) -> None:
    first = catch_up(uri, made, results(made))[1]
    before = whole(uri, made)
    assert catch_up(uri, made, results(made))[1] == first
    assert whole(uri, made) == before


def test_what_is_there_stays_and_the_rest_is_added(uri: str, made: Job) -> None:
    tracker = Tracker.open(uri, made)
    known = tracker.log_outcome(made, EAGER, {"latency_ms": 1.0}, results(made)[0].directory)
    again, written = catch_up(uri, made, results(made))
    assert again
    assert (again.run_id, written["EAGER"]) == (tracker.run_id, known)
    assert whole(uri, made)["ONNX_CPU"] == written["ONNX_CPU"]


def test_a_run_that_a_lost_connection_left_half_made_is_replaced(uri: str, made: Job) -> None:
    """The server created it and its answer never came, or the client died before the run was ended."""
    tracker = Tracker.open(uri, made)
    tags = {"almaflow.kind": "conversion", "almaflow.job_id": made.job_id}
    client = client_of(uri)
    for name in ("EAGER", "EAGER", "ONNX_CPU"):
        key = {"almaflow.logical_key": f"{made.job_id}/{name}"}
        client.create_run(tracker.experiment_id, 100_000, NEUTRAL_TAGS | tags | key)
    catch_up(uri, made, results(made))
    whole(uri, made)


def test_a_second_run_of_the_job_itself_is_taken_back(uri: str, made: Job) -> None:
    Tracker.open(uri, made)
    kept = Tracker.open(uri, made)
    tracker, _ = catch_up(uri, replace(made, run_id=kept.run_id), results(made))
    assert tracker
    assert whole(uri, made)["job"] == tracker.run_id == kept.run_id


def test_figures_and_files_that_are_missing_are_added_to_the_run(uri: str, made: Job) -> None:
    run_id = Tracker.open(uri, made).log_outcome(made, EAGER, {"latency_ms": 1.0}, None)
    alone = replace(made, outcomes=(EAGER,))
    catch_up(uri, alone, [result(made, EAGER, speedup_vs_eager=2.0)])
    assert whole(uri, alone)["EAGER"] == run_id
    assert stored(uri, alone)["EAGER"][0].data.metrics == {"latency_ms": 1.0, "speedup_vs_eager": 2.0}


def test_four_jobs_at_once_in_a_new_store(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    write_at_once(uri)
    client = client_of(uri)
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()], max_results=100)
    found = [(run.data.tags["almaflow.job_id"], run.data.params.get("conversion")) for run in runs]
    expected = [(f"job-{number}", name) for number in range(4) for name in (None, *NAMES)]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_what_was_measured_again_takes_the_place_of_the_failure(uri: str, made: Job) -> None:
    old = Tracker.open(uri, made).log_outcome(made, failed("EAGER"), {}, None)
    catch_up(uri, made, results(made))
    assert whole(uri, made)["EAGER"] != old
    assert client_of(uri).get_run(old).info.lifecycle_stage == "deleted"


def test_a_job_whose_own_run_was_deleted_gets_another_for_what_it_measured(uri: str, made: Job) -> None:
    tracker = Tracker.open(uri, made)
    known = tracker.log_outcome(made, EAGER, {"latency_ms": 1.0}, results(made)[0].directory)
    client_of(uri).delete_run(tracker.run_id)
    again, written = catch_up(uri, replace(made, run_id=tracker.run_id), results(made))
    assert again
    assert again.run_id != tracker.run_id
    assert whole(uri, made) == {"job": again.run_id, **written}
    assert written["EAGER"] == known
    runs = [run for found in stored(uri, made).values() for run in found]
    named = {run.data.tags.get("almaflow.job_run_id", again.run_id) for run in runs}
    assert named == {again.run_id}


def test_a_result_whose_run_was_deleted_stays_deleted_and_the_rest_is_written(uri: str, made: Job) -> None:
    tracker = Tracker.open(uri, made)
    deleted = tracker.log_outcome(made, EAGER, {"latency_ms": 1.0}, None)
    client_of(uri).delete_run(deleted)
    made = replace(made, run_id=tracker.run_id, outcomes=(replace(EAGER, run_id=deleted), ONNX))
    _, written = catch_up(uri, made, results(made))
    assert written["EAGER"] == deleted
    assert set(stored(uri, made)) == {"job", "ONNX_CPU"}


def test_a_job_of_which_all_runs_were_deleted_stays_deleted(uri: str, made: Job) -> None:
    tracker = Tracker.open(uri, made)
    deleted = tracker.log_outcome(made, EAGER, {"latency_ms": 1.0}, None)
    for run_id in (deleted, tracker.run_id):
        client_of(uri).delete_run(run_id)
    made = replace(made, run_id=tracker.run_id, outcomes=(replace(EAGER, run_id=deleted),))
    assert catch_up(uri, made, results(made)) == (None, {"EAGER": deleted})
    assert stored(uri, made) == {}


def test_a_store_that_was_made_anew_gets_all_results_again(uri: str, made: Job) -> None:
    """The IDs on disk are of runs that this store never had."""
    made = replace(made, run_id="0" * 32, outcomes=tuple(replace(each, run_id="1" * 32) for each in made.outcomes))
    tracker, written = catch_up(uri, made, results(made))
    assert tracker
    assert whole(uri, made) == {"job": tracker.run_id, **written}


def test_a_job_whose_experiment_was_renamed_goes_on_there(uri: str, made: Job) -> None:
    made = replace(made, experiment_name=f"of {made.job_id}")
    tracker, _ = catch_up(uri, made, results(made)[:1])
    assert tracker
    client_of(uri).rename_experiment(tracker.experiment_id, f"once of {made.job_id}")
    again, written = catch_up(uri, made, results(made))
    assert again == tracker
    runs = whole(uri, made)
    assert written == {name: runs[name] for name in written}


@pytest.mark.parametrize("older", [{"interrupted": True, "status": Status.FAILED, "measurement": None}, {}])
def test_an_older_copy_of_the_files_takes_no_whole_measurement_out_of_the_store(
    uri: str, made: Job, older: dict[str, Any]
) -> None:
    catch_up(uri, made, results(made))
    before = whole(uri, made)
    earlier = [replace(each, started_at=each.started_at - 9, **older) for each in made.outcomes]
    copy = replace(made, outcomes=tuple(earlier), interrupted=True)
    _, written = catch_up(uri, copy, results(copy))
    assert whole(uri, made) == before
    assert written == {name: before[name] for name in written}


def test_marks_are_set_and_taken_away_as_the_results_of_the_job_change(uri: str, made: Job) -> None:
    def marked(**marks: dict[str, str]) -> dict[str, dict[str, str]]:
        catch_up(uri, made, [replace(each, marks=marks.get(each.outcome.planned.name, {})) for each in results(made)])
        runs = {name: run.data.tags for name, (run, *_) in stored(uri, made).items() if name != "job"}
        return {name: {mark: tags[mark] for mark in MARKS if mark in tags} for name, tags in runs.items()}

    both, front = {"almaflow.pareto": "true", "almaflow.chosen": "true"}, {"almaflow.pareto": "true"}
    assert marked(EAGER=both) == {"EAGER": both, "ONNX_CPU": {}}  # of runs that were made just then
    assert marked(EAGER=front, ONNX_CPU=both) == {"EAGER": front, "ONNX_CPU": both}
    assert marked() == {"EAGER": {}, "ONNX_CPU": {}}


def test_marks_of_an_earlier_question_are_taken_back(uri: str, made: Job) -> None:
    tracker, run_ids = catch_up(uri, made, results(made))
    assert tracker is not None
    tracker.close(made, {}, "", None, verdict=dict.fromkeys(MARKS, "EAGER"))
    mark_again(uri, {tracker.run_id: {CHOSEN: "none"}, run_ids["EAGER"]: {CHOSEN: "true"}, run_ids["ONNX_CPU"]: {}})
    runs = stored(uri, made)
    tags = {name: {key: runs[name][0].data.tags.get(key) for key in MARKS} for name in runs}
    assert tags["job"] == {PARETO: None, CHOSEN: "none"}
    assert tags["EAGER"][CHOSEN] == "true"
    mark_again(uri, {run_ids["EAGER"]: {}})
    assert CHOSEN not in stored(uri, made)["EAGER"][0].data.tags
    tracker.close(made, {}, "", None, verdict={PARETO: "EAGER"})
    assert {key: stored(uri, made)["job"][0].data.tags.get(key) for key in MARKS} == {PARETO: "EAGER", CHOSEN: None}
