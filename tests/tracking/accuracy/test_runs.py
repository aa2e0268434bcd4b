"""What was judged, from a real store: read once, then only what is new, and never believed unseen."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from tests.support.scored_runs import nights, run, stored, with_ids

from almaflow import machine
from almaflow.accuracy.filter import Filter, moment_of
from almaflow.records import Prediction, RecordedPrediction, ScoredRun
from almaflow.tracking.accuracy import pages
from almaflow.tracking.accuracy import rescored as rescoring
from almaflow.tracking.accuracy import runs as judged
from almaflow.tracking.accuracy.cache import state_of
from almaflow.tracking.accuracy.history import scored_history
from almaflow.tracking.accuracy.pages import MeasuredRuns
from almaflow.tracking.accuracy.rescored import log_rescored
from almaflow.tracking.accuracy.runs import scored_runs
from almaflow.tracking.session import connect

COUNT = 12


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def runs(uri: str) -> list[ScoredRun]:
    made = nights(COUNT)
    return with_ids(made, stored(uri, made))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many runs each reading took from the store."""
    found: list[int] = []
    search = MlflowClient.search_runs

    def counting(*arguments: Any, **named: Any) -> object:
        page = search(*arguments, **named)
        found.extend(1 for _ in page)
        return page

    monkeypatch.setattr(MlflowClient, "search_runs", counting)
    return found


def test_runs_are_read_as_they_were_written(uri: str, runs: list[ScoredRun]) -> None:
    assert scored_runs(uri) == runs
    assert scored_runs(uri) == runs
    assert scored_runs(uri, fresh=True) == runs


def test_a_store_that_is_not_there_has_none(uri: str) -> None:
    assert scored_runs(uri) == []


def test_a_second_reading_takes_only_what_is_new(uri: str, runs: list[ScoredRun], counted: list[int]) -> None:
    scored_runs(uri)
    assert len(counted) == COUNT + 1
    counted.clear()
    assert scored_runs(uri) == runs
    assert len(counted) <= judged.PROBES + 4
    (new,) = stored(uri, [run(COUNT)])
    counted.clear()
    assert [each.run_id for each in scored_runs(uri)] == [*(each.run_id for each in runs), new]
    assert len(counted) <= judged.PROBES + 5


def test_pages_join_where_runs_started_at_once(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nights = (0, 0, 0, 1, 2, 2, 2, 2, 2, 3, 3, 4, 90, 90, 91, 400)
    stored(uri, [run(night) for night in nights])
    whole = [each.run_id for each in sorted(scored_runs(uri), key=lambda each: (each.at, each.run_id))]
    assert len(whole) == len(nights)
    for page, start, serves in product((1, 2, 3, 5, 11), range(len(nights) + 1), (False, True)):
        monkeypatch.setattr(pages, "PAGE", page)
        listed = MeasuredRuns.of(connect(uri), serves=serves).since(start)
        assert [each.info.run_id for each in listed] == whole[start:], (page, start, serves)


def test_a_server_that_cannot_tell_whether_a_tag_is_there(
    uri: str, runs: list[ScoredRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    search = MlflowClient.search_runs

    def older(client: MlflowClient, ids: list[str], where: str, **named: Any) -> object:
        if "NULL" in where:
            message = "Invalid clause(s) in filter string"
            raise MlflowException.invalid_parameter_value(message)
        return search(client, ids, where, **named)

    monkeypatch.setattr(MlflowClient, "search_runs", older)
    assert scored_runs(uri) == runs


def test_a_wrong_output_is_no_measurement(uri: str, runs: list[ScoredRun]) -> None:
    connect(uri).set_tag(runs[3].run_id, "almaflow.status", "wrong_output")
    assert scored_runs(uri) == [*runs[:3], *runs[4:]]


def test_a_run_that_is_deleted_is_gone(uri: str, runs: list[ScoredRun]) -> None:
    scored_runs(uri)
    connect(uri).delete_run(runs[4].run_id)
    assert scored_runs(uri) == [*runs[:4], *runs[5:]]


def test_a_run_that_came_late_is_in_its_place(uri: str, runs: list[ScoredRun]) -> None:
    scored_runs(uri)
    late = replace(run(3), at=run(3).at + 60)
    (run_id,) = stored(uri, [late])
    assert scored_runs(uri) == [*runs[:4], replace(late, run_id=run_id), *runs[4:]]


def test_a_change_is_seen_where_it_is_looked_at(uri: str, runs: list[ScoredRun]) -> None:
    scored_runs(uri)
    connect(uri).set_tag(runs[-1].run_id, "env.torch", "9")
    assert scored_runs(uri)[-1].environment["torch"] == "9"
    connect(uri).set_tag(runs[5].run_id, "env.torch", "9")
    assert scored_runs(uri, fresh=True)[5].environment["torch"] == "9"


def test_a_run_that_has_only_begun_is_read_again(uri: str, runs: list[ScoredRun]) -> None:
    client = connect(uri)
    import time

    experiment = client.get_run(runs[0].run_id).info.experiment_id
    tags = {"almaflow.kind": "conversion", "almaflow.status": "ok", "almaflow.device_actual": "cpu"}
    begun = client.create_run(experiment, int(time.time() * 1000), tags=tags)
    assert scored_runs(uri) == runs
    client.log_metric(begun.info.run_id, "latency_ms", 3.0)
    client.set_terminated(begun.info.run_id)
    assert scored_runs(uri)[-1].latency_ms == 3.0


@pytest.mark.parametrize("text", [b"", b"no database", None])
def test_what_is_kept_can_be_lost_at_any_time(uri: str, runs: list[ScoredRun], text: bytes | None) -> None:
    scored_runs(uri)
    (kept,) = (machine.home() / "cache").glob("accuracy-*.db")
    kept.unlink() if text is None else kept.write_bytes(text)
    assert scored_runs(uri) == runs
    assert scored_runs(uri) == runs


def test_several_read_at_once(uri: str, runs: list[ScoredRun]) -> None:
    found: list[list[ScoredRun]] = []
    threads = [threading.Thread(target=lambda: found.append(scored_runs(uri))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [runs] * 3
    assert scored_runs(uri) == runs


def test_what_was_said_afterwards_is_beside_it(uri: str, runs: list[ScoredRun]) -> None:
    log_rescored(uri, "almaflow", [(runs[2].run_id, Prediction(12.0, "calibrated", "v2", low_ms=9.0))], {})
    found = scored_history([uri, uri], lambda *_: None)
    assert found[2].said == (*runs[2].said, RecordedPrediction("calibrated@v2", "v2", 12.0, 9.0))
    assert [*found[:2], *found[3:]] == [*runs[:2], *runs[3:]]
    for text in b"null", b'{"predictor": "x", "predictions": [[1]]}', b'{"form": 99}', b"\xff":
        run_id = log_rescored(uri, "almaflow", [(runs[3].run_id, Prediction(1.0, "damaged", "v1"))], {})
        artifacts = str(MlflowClient(uri).get_run(run_id).info.artifact_uri).removeprefix("file://")
        Path(artifacts, "predictions.json").write_bytes(text)
    assert scored_history([uri], lambda *_: None) == found


def test_a_store_to_which_nothing_was_written_is_not_asked(
    uri: str, runs: list[ScoredRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    log_rescored(uri, "almaflow", [(runs[2].run_id, Prediction(12.0, "calibrated", "v2", low_ms=9.0))], {})
    found = scored_history([uri], lambda *_: None)
    with monkeypatch.context() as patch:
        for module in (judged, rescoring):
            patch.setattr(module, "session", lambda *_: pytest.fail("the store was asked"))
        assert scored_history([uri], lambda *_: None) == found
        with pytest.raises(pytest.fail.Exception):
            scored_history([uri], lambda *_: None, fresh=True)
    connect(uri).set_tag(runs[0].run_id, "env.torch", "9")
    assert scored_history([uri], lambda *_: None)[0].environment["torch"] == "9"
    log_rescored(uri, "almaflow", [(runs[3].run_id, Prediction(13.0, "calibrated", "v2"))], {})
    assert [each.predictor for each in scored_history([uri], lambda *_: None)[3].said] == [
        "calibrated",
        "calibrated@v2",
    ]


def test_a_store_with_a_journal_beside_it_may_hold_more_than_its_file(uri: str, runs: list[ScoredRun]) -> None:
    path = Path(uri.removeprefix("sqlite:///"))
    assert runs
    assert state_of(uri) == state_of(uri) is not None
    path.with_name("mlflow.db-wal").touch()
    assert state_of(uri) is None
    assert state_of("http://server:5000") is state_of(f"{uri}.gone") is None


def test_what_ended_halfway_was_never_said(uri: str, runs: list[ScoredRun], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MlflowClient, "log_dict", broken)
    with pytest.raises(KeyboardInterrupt):
        log_rescored(uri, "almaflow", [(runs[2].run_id, Prediction(12.0, "calibrated", "v2"))], {})
    assert scored_history([uri], lambda *_: None) == runs


def test_filters() -> None:
    made = run(3)
    assert Filter().fits(made)
    assert Filter(models=("RESNET*",), conversions=("onnx_cpu", "EAGER"), since=made.at).fits(made)
    assert not Filter(models=("vgg*",)).fits(made)
    assert not Filter(since=made.at + 1).fits(made)
    assert not Filter(experiments=("other",)).fits(made)
    assert Filter(predictors=("roof*",)).through(made).said == ()
    assert Filter(models=("resnet*",)).through(made) == made
    assert Filter(models=("vgg*",)).through(made).said == ()


def test_times_are_days_or_a_number_of_them() -> None:
    import time

    assert moment_of("2023-11-14T22:13:20+00:00") == 1_700_000_000
    assert moment_of("2023-11-15") == 1_700_006_400
    assert moment_of("30d") == pytest.approx(time.time() - 30 * 86_400, abs=60)
    with pytest.raises(Exception, match="--since soon: write a day such as"):
        moment_of("soon")
