"""One run for each series in a real store: up to date, nothing doubled, nothing lost."""

from __future__ import annotations

import multiprocessing
import time
from typing import TYPE_CHECKING

import pytest
from tests.support.scored_runs import nights, run, stored, with_ids

from almaflow.accuracy.summary import series_of
from almaflow.tracking.accuracy import series_runs
from almaflow.tracking.accuracy.series_runs import track
from almaflow.tracking.figures import rounded
from almaflow.tracking.session import connect
from almaflow.tracking.store import prepare

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.entities import Run

    from almaflow.records import ScoredRun

MODELS = ("resnet18", "vgg11", "swin_t")


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def summaries(uri: str) -> list[Run]:
    client = connect(uri)
    found = client.get_experiment_by_name("almaflow accuracy")
    return list(client.search_runs([found.experiment_id])) if found else []


def points(uri: str, run_id: str) -> list[tuple[int, float]]:
    history = connect(uri).get_metric_history(run_id, "error_pct")
    return sorted((each.step, each.value) for each in history)


def expected(runs: list[ScoredRun]) -> list[tuple[int, float]]:
    (series,) = series_of(runs)
    return [(int(point.run.at), rounded(point.error)) for point in series.points]


def test_the_error_is_a_metric_over_time(uri: str) -> None:
    made = nights(5)
    assert track(uri, series_of(made)) == 1
    (found,) = summaries(uri)
    assert points(uri, found.info.run_id) == expected(made)
    assert found.info.run_name == "resnet18 b1 ONNX_CPU on office by calibrated"
    assert found.data.params["conversion"] == "ONNX_CPU"
    assert found.data.metrics["accuracy/points"] == 5
    history = connect(uri).get_metric_history(found.info.run_id, "error_pct")
    assert {each.timestamp for each in history} == {int(each.at * 1000) for each in made}


def test_what_is_there_is_not_written_again_and_what_is_new_is_added(uri: str) -> None:
    made = nights(5)
    assert track(uri, series_of(made)) == 1
    assert track(uri, series_of(made)) == 0
    more = [*made, run(5), run(2, at=made[2].at + 60)]
    assert track(uri, series_of(more)) == 1
    (found,) = summaries(uri)
    assert points(uri, found.info.run_id) == expected(more)


def test_a_run_whose_process_was_killed_right_after_it_was_created_gets_its_params(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(series_runs, "log_batch", killed)
        with pytest.raises(KeyboardInterrupt):
            track(uri, series_of(nights(5)))
    (half,) = summaries(uri)
    assert not half.data.params
    assert track(uri, series_of(nights(5))) == 1
    (found,) = summaries(uri)
    assert found.info.run_id == half.info.run_id
    assert found.data.params["model"]


def test_a_measurement_that_was_deleted_is_no_longer_a_point(uri: str) -> None:
    made = nights(5)
    track(uri, series_of(made))
    track(uri, series_of(made[:2] + made[3:]))
    (found,) = summaries(uri)
    assert points(uri, found.info.run_id) == expected(made[:2] + made[3:])


def test_measurements_stay_as_they_were(uri: str) -> None:
    made = nights(3)
    made = with_ids(made, stored(uri, made))
    before = [connect(uri).get_run(each.run_id).to_dictionary() for each in made]
    track(uri, series_of(made))
    assert [connect(uri).get_run(each.run_id).to_dictionary() for each in made] == before


def _many() -> list[ScoredRun]:
    return [each for model in MODELS for each in nights(40, model=model, experiment="almaflow")]


def _track(uri: str) -> None:
    track(uri, series_of(_many()))


@pytest.mark.slow
def test_two_processes_at_once_and_one_that_is_killed(uri: str) -> None:
    prepare(uri, "almaflow accuracy")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow", "almaflow.tracking.store", __name__])  # the imports take seconds
    killed, *others = [context.Process(target=_track, args=(uri,)) for _ in range(3)]
    killed.start()
    limit = time.monotonic() + 60
    while not summaries(uri) and time.monotonic() < limit:
        time.sleep(0.01)
    killed.kill()
    killed.join()
    for process in others:
        process.start()
    for process in others:
        process.join()
        assert process.exitcode == 0
    found = summaries(uri)
    assert sorted(each.data.params["model"] for each in found) == sorted(MODELS)
    for each in found:
        own = [run for run in _many() if run.model == each.data.params["model"]]
        assert points(uri, each.info.run_id) == expected(own)
    assert track(uri, series_of(_many())) == 0
