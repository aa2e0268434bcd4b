"""A run that another almaflow wrote, or that was never finished, keeps nobody from reading the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.example_jobs import job

from almaflow.tracking import history, reader
from almaflow.tracking.reader import StoredRun

if TYPE_CHECKING:
    import pytest

PARAMS = {
    "model": "resnet18",
    "hardware": "auto",
    "conversion": "EAGER",
    "batch_size": "2",
    "threads": "2",
    "tier": "1",
}
METRICS = {"latency_ms": 2.0, "time/load": 1.0, "time/convert": 1.0, "time/first_call": 1.0, "time/job": 9.0}


def run(params: dict[str, str]) -> StoredRun:
    return StoredRun(f"without {PARAMS.keys() - params.keys()}", "almaflow", 100.0, True, METRICS, params, {})


RUNS = [run(PARAMS), run({}), *(run({key: PARAMS[key] for key in PARAMS if key != left_out}) for left_out in PARAMS)]


def test_runs_without_a_param_are_left_out_or_borne(monkeypatch: pytest.MonkeyPatch) -> None:
    made = job()
    for module in history, reader:
        monkeypatch.setattr(module, "conversion_runs", lambda *_, **__: iter(RUNS))
    monkeypatch.setattr(reader, "job_runs", lambda *_, **__: iter(RUNS))
    past = history.past_of("", "almaflow", made.model, made.hardware)
    assert {each.run_id for each in past} == {RUNS[0].run_id, "without {'tier'}"}
    assert reader.ready_times(made, "") == {"EAGER": 3.0}
    assert reader.job_times("", "almaflow")["resnet18", "2", "1"] == 9.0


def test_a_time_that_a_clock_made_negative_is_no_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = StoredRun("wrong", "almaflow", 100.0, True, {"time/job": -3593.0}, PARAMS, {})
    monkeypatch.setattr(reader, "job_runs", lambda *_, **__: iter([wrong, RUNS[0]]))
    assert reader.job_times("", "almaflow") == {("resnet18", "2", "1"): 9.0}
