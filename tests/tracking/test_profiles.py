from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.support.made_profiles import figure, results, verification, workload, write_profile

from almaflow.profiles.analysis import analysed
from almaflow.profiles.track import track
from almaflow.tracking.profiles import PROFILE_METRICS, TOTAL_METRICS, VERIFY_METRICS, log_profile
from almaflow.tracking.session import session
from almaflow.tracking.uris import resolve_uri

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.entities import Run

TIMES = (1000.0, 1010.0)


def runs(uri: str) -> list[Run]:
    with session(uri, "cannot be read") as client:
        ids = [each.experiment_id for each in client.search_experiments() if each.name == "almaflow"]
        return list(client.search_runs(ids, order_by=["attributes.start_time"]))


def test_a_session_and_its_totals_are_runs_and_writing_them_twice_changes_nothing(
    stored_home: Path, tmp_path: Path
) -> None:
    uri = f"sqlite:///{stored_home / 'mlflow.db'}"
    known = [figure("a", "EAGER", 4.0), figure("b", "EAGER", 4.0), figure("a", "ONNX_CPU", 1.0)]
    data = analysed(workload("ab", "ab", "ab"), results(*known, figure("b", "ONNX_CPU", None), price=0.36))
    summary = tmp_path / "summary"
    summary.mkdir()
    (summary / "report.txt").write_text("the report", encoding="utf-8")
    for note in ("first", "second"):
        log_profile(uri, "almaflow", data, TIMES, note, summary)
    found = {each.info.run_name: each for each in runs(uri)}
    assert {*found} == {"profile predict", "best predict", "EAGER predict", "ONNX_CPU predict"}
    assert len(runs(uri)) == 4
    profile, best, broken = (found[name] for name in ("profile predict", "best predict", "ONNX_CPU predict"))
    assert profile.data.tags["mlflow.note.content"] == "second"
    assert profile.data.tags["almaflow.kind"] == "profile"
    assert {*profile.data.metrics} == {*PROFILE_METRICS}
    assert profile.data.metrics["profile/segments"] == 2
    assert best.data.params == {"function": "predict", "hardware": "here", "conversion": "best"}
    assert best.data.metrics["total/ms"] == pytest.approx(10.0)
    assert {*best.data.metrics} == {*TOTAL_METRICS} - {"total/p50", "total/p95"}
    assert broken.data.metrics == {"total/failures": 1.0}
    assert broken.data.tags["almaflow.status"] == "failed"
    assert {each.data.tags["almaflow.profile_id"] for each in found.values()} == {"made"}


def test_what_a_function_took_in_place_is_of_its_session_and_of_its_best_total(
    stored_home: Path, tmp_path: Path
) -> None:
    uri = f"sqlite:///{stored_home / 'mlflow.db'}"
    known = replace(results(figure("a", "EAGER", 4.0), figure("a", "ONNX_CPU", 1.0)), verifications=(verification(),))
    log_profile(uri, "almaflow", analysed(workload("a", "a"), known), TIMES, "note", tmp_path / "none")
    found = {each.info.run_name: each.data.metrics for each in runs(uri)}
    for name in ("profile predict", "best predict"):
        assert {*VERIFY_METRICS} <= {*found[name]}
        assert found[name]["verify/error_pct"] == pytest.approx(-25.0)
    assert not {*VERIFY_METRICS} & {*found["EAGER predict"]}


def test_a_total_that_is_lost_keeps_none_of_its_metrics(stored_home: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{stored_home / 'mlflow.db'}"
    eager = [figure("a", "EAGER", 4.0), figure("b", "EAGER", 4.0)]
    (tmp_path / "summary").mkdir()
    whole = [*eager, figure("a", "A", 1.0), figure("b", "A", 1.0), figure("a", "B", 1.0), figure("b", "B", 1.0)]
    for figures in (whole, [*eager, figure("a", "A", 1.0), figure("b", "A", None)]):
        data = analysed(workload("ab", "ab", "ab"), results(*figures))
        log_profile(uri, "almaflow", data, TIMES, "note", tmp_path / "summary")
    found = {each.info.run_name: each for each in runs(uri)}
    assert {*found} == {"profile predict", "best predict", "EAGER predict", "A predict"}
    assert len(runs(uri)) == 4
    assert found["A predict"].data.metrics == {"total/failures": 1.0}
    assert found["A predict"].data.tags["almaflow.status"] == "failed"
    assert found["EAGER predict"].data.metrics["total/ms"] == pytest.approx(13.0)


def test_a_summary_is_on_disk_before_the_store_has_it(stored_home: Path) -> None:
    files = write_profile("a", "a", "a")
    files.write_results(results(figure("a", "EAGER", 4.0)))
    track(files, resolve_uri(None))
    assert files.results().tracked
    assert {each.name for each in files.recorded.summary.iterdir()} == {"report.txt", "report.html", "report.json"}
    assert len(runs(f"sqlite:///{stored_home / 'mlflow.db'}")) == 3
