"""``almaflow conversions --history`` and the estimate of a job, from a real store."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from tests.support.example_jobs import failed, job, ok

from almaflow.cli.conversions import conversions
from almaflow.tracking.reader import conversion_runs, ready_times
from almaflow.tracking.store import prepare
from almaflow.tracking.writer import Tracker

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.records import Job


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("ALMAFLOW_HOME", str(tmp_path / "home"))
    return uri


def stored(uri: str, made: Job, *metrics: dict[str, float]) -> Job:
    prepare(uri, made.experiment_name)
    tracker = Tracker.open(uri, made)
    for outcome, figures in zip(made.outcomes, metrics, strict=True):
        tracker.log_outcome(made, outcome, figures, None)
    return made


def test_an_empty_store_has_no_history(uri: str) -> None:
    del uri
    assert "No conversion has been run yet" in CliRunner().invoke(conversions, ["--history"]).output
    assert json.loads(CliRunner().invoke(conversions, ["--history", "--json"]).output) == []


def test_each_conversion_with_its_model_versions_and_last_failure(uri: str) -> None:
    made = job(ok("EAGER", 2.0), failed("ONNX_CPU", message="no kernel"))
    stored(uri, replace(made, environment={"torch": "2.14.1"}), {}, {})
    (eager, onnx) = json.loads(CliRunner().invoke(conversions, ["--history", "--json"]).output)
    assert (eager["conversion"], eager["model"], eager["versions"], eager["ok"]) == (
        "EAGER",
        "resnet18",
        "torch 2.14.1",
        1,
    )
    assert (onnx["failed"], onnx["why"]) == (1, "error: no kernel")
    table = CliRunner().invoke(conversions, ["--history"]).output
    assert "no kernel" in table
    only = CliRunner().invoke(conversions, ["--history", "--tier", "1", "--json", "--device", "cpu"])
    assert [each["conversion"] for each in json.loads(only.output)] == ["EAGER"]


def test_the_newest_times_of_the_same_model_are_expected_again(uri: str) -> None:
    took = {"time/load": 1.0, "time/convert": 20.0, "time/first_call": 0.5}
    made = stored(uri, job(ok("EAGER", 2.0), failed("ONNX_CPU")), took, {"time/load": 1.0})
    other = replace(made, model=replace(made.model, name="other"))
    assert ready_times(made, uri) == {"EAGER": 21.5}
    assert ready_times(other, uri) == {}


def test_runs_come_page_by_page(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("almaflow.tracking.store.PAGE", 2)
    made = job(*(ok(f"C{i}", 2.0) for i in range(5)))
    stored(uri, made, *({} for _ in made.outcomes))
    assert {run.params["conversion"] for run in conversion_runs(uri)} == {f"C{i}" for i in range(5)}
    assert list(conversion_runs(uri, "another")) == []
