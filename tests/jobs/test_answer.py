"""A job of which the store has all is answered: its converted models and its marks become what it asks for now."""

from __future__ import annotations

import shutil
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.jobs.test_kept import Said, export_at, kept_names
from tests.support.example_jobs import changed, job, ok

from almaflow.errors import TrackingError
from almaflow.jobs.answer import answer
from almaflow.jobs.files import JobFiles
from almaflow.jobs.keep_setting import Keep
from almaflow.jobs.kept_export import kept_model
from almaflow.jobs.resume import Resumed
from almaflow.records.specs import Choosing

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.records import Job

NAMES = ("EAGER", "ONNX_CPU", "OPENVINO")


@pytest.fixture
def known(home: Path) -> Job:
    """A job of three conversions, one of which another job measured, with all models that it kept."""
    root = home / "jobs" / "earlier"
    JobFiles.of(root).create()
    for name in NAMES[:2]:
        export_at(root / "kept" / name, name)
    outcomes = [
        replace(changed(ok(name, ms), model_mb=mb), run_id=f"run of {name}", job_id=owner)
        for name, ms, mb, owner in zip(NAMES, (20.0, 10.0, 5.0), (5.0, 8.0, 9.0), (None, None, "other"), strict=True)
    ]
    made = replace(job(*outcomes), job_id="earlier", run_id="run of it", directory=str(root))
    JobFiles.of(root).write_job(made)
    return made


def asked(
    known: Job, monkeypatch: pytest.MonkeyPatch, logged: list[str] | None = None, **fields: Any
) -> tuple[dict[str, Any], list[str]]:
    """What is marked in the store, and what is said."""
    logged = [] if logged is None else logged
    marked: dict[str, Any] = {}
    monkeypatch.setattr("almaflow.jobs.answer.mark_again", lambda _, marks: marked.update(marks))
    monkeypatch.setattr(
        "almaflow.jobs.model_logging.log_model", lambda _, model: logged.append(model.export.conversion)
    )
    said = Said()
    context: Any = SimpleNamespace(
        request=SimpleNamespace(keep=Keep(frozenset(NAMES), only_best=True), uri="sqlite:///x.db"), progress=said
    )
    found = answer(context, Resumed(replace(known, **fields), (), ()))
    assert found.tracked
    assert found.ended_at
    return marked, said.lines


def test_the_chosen_one_is_kept_and_marked(known: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    marked, said = asked(known, monkeypatch, choose=Choosing(by="memory/model_mb"))
    written = JobFiles.of(known.directory).read_job()
    assert written == replace(known, choose=Choosing(by="memory/model_mb"))
    assert kept_model(written, None).export.conversion == "EAGER"  # what is exported is the best of the new limits
    assert marked["run of it"]["almaflow.chosen"] == "EAGER"
    assert marked["run of EAGER"]["almaflow.chosen"] == "true"
    assert "almaflow.chosen" not in marked["run of ONNX_CPU"]
    assert "run of OPENVINO" not in marked  # another job's
    assert kept_names(JobFiles.of(known.directory).root) == {"EAGER"}
    assert said == [
        "nothing to measure: the store has all 3 conversions that you asked for",
        "keep: removed what an earlier attempt had kept: ONNX_CPU",
    ]


def test_without_limits_no_one_is_chosen_any_more(known: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    marked, _ = asked(known, monkeypatch)
    assert set(marked["run of it"]) == {"almaflow.pareto"}
    assert kept_names(JobFiles.of(known.directory).root) == {"ONNX_CPU"}


def test_where_nothing_keeps_to_the_limits_the_fastest_stays(known: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    marked, _ = asked(known, monkeypatch, choose=Choosing(max={"latency_ms": 1}))
    assert marked["run of it"]["almaflow.chosen"] == "none"
    assert kept_names(JobFiles.of(known.directory).root) == {"ONNX_CPU"}


def test_what_is_to_be_logged_now_is_logged(known: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    _, said = asked(known, monkeypatch, logged, config={"log_models": "best"})
    assert logged == ["ONNX_CPU"]
    assert said[-1] == "logged as MLflow models: ONNX_CPU"
    shutil.rmtree(JobFiles.of(known.directory).root / "kept")
    _, said = asked(known, monkeypatch, config={"log_models": "best"})
    assert said[-1] == "log_models=best: no converted model of this job is on disk, so none is logged"


def test_a_store_that_is_gone_costs_one_line(known: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any) -> None:
        message = "the store is gone"
        raise TrackingError(message)

    said = Said()
    monkeypatch.setattr("almaflow.jobs.answer.mark_again", gone)
    context: Any = SimpleNamespace(request=SimpleNamespace(keep=Keep(), uri="sqlite:///x.db"), progress=said)
    answer(context, Resumed(replace(known, directory="elsewhere"), (), ()))
    assert said.lines[1:] == ["the store is gone"]
