"""``log_models``: which kept models a job logs, and that ``almaflow sync`` logs what the store missed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.support.example_jobs import changed, ok
from tests.support.made_exports import made_export
from tests.support.stored_jobs import new

from almaflow.errors import TrackingError
from almaflow.jobs import model_logging
from almaflow.jobs.files import JobFiles
from almaflow.jobs.keep_setting import with_logged
from almaflow.jobs.model_logging import log_kept, model_files, to_log
from almaflow.jobs.store import JobStore
from almaflow.jobs.sync import sync
from almaflow.measure.progress import Progress
from almaflow.records import EvaluateSpec, QualityDrop, Status, write_json
from almaflow.tracking import converted_models
from almaflow.tracking.session import connect
from almaflow.tracking.uris import resolve_uri

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.records import Job, Outcome

X = np.ones((1, 2), np.float32)


class Said(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.lines.append(f"warning: {text}")


def measured_job(home: Path, log_models: str, *outcomes: Outcome) -> Job:
    """A job at its end that has kept the models of all that count."""
    made = replace(new("j"), config={"log_models": log_models}, outcomes=outcomes, ended_at=500.0)
    made = replace(made, store=resolve_uri(None))
    files = JobFiles.of(made.directory)
    files.create()
    for index, outcome in enumerate(outcomes):
        name = outcome.planned.name
        files.write_outcome(files.conversion_dir(index, outcome.planned), outcome)
        folder = home / "jobs" / "j" / "kept" / name
        write_json(folder / "export.json", replace(made_export(folder, "args[0]", {"x": X}, {"": X}), conversion=name))
    files.write_job(made)
    return made


def with_run(name: str, latency_ms: float, **fields: Any) -> Outcome:
    return replace(changed(ok(name, latency_ms), export_mb=0.001, **fields), run_id=f"run of {name}")


def logged() -> set[str]:
    client = connect(resolve_uri(None))
    found = client.search_logged_models([each.experiment_id for each in client.search_experiments()])
    return {each.params["conversion"] for each in found}


def test_the_setting_says_what_is_logged_and_kept(home: Path) -> None:
    outcomes = (with_run("EAGER", 20.0), with_run("ONNX_CPU", 10.0))
    made = measured_job(home, "all", *outcomes)
    names = {
        setting: [each.export.conversion for each in to_log(replace(made, config={"log_models": setting}))]
        for setting in ("none", "best", "all")
    }
    assert names == {"none": [], "best": ["ONNX_CPU"], "all": ["ONNX_CPU", "EAGER"]}
    assert to_log(replace(made, config={})) == []
    # What may not be recommended, or has no run.
    lossy = with_run("ONNX_CPU", 10.0, quality_drops={"top1": QualityDrop(0.05, 0.02, 0.08)})
    judged = replace(made, outcomes=(outcomes[0], lossy), evaluate=EvaluateSpec("a.b", max_drop=0.01))
    best = replace(judged, config={"log_models": "best"})
    assert [each.export.conversion for each in to_log(best)] == ["EAGER"]
    assert [each.export.conversion for each in to_log(judged)] == ["ONNX_CPU", "EAGER"]
    bare = replace(made, outcomes=tuple(replace(each, run_id=None) for each in outcomes))
    assert to_log(bare) == []
    with pytest.raises(TrackingError, match="ONNX_CPU: its run is not in the store yet"):
        model_files(replace(to_log(made)[0], row=replace(to_log(made)[0].row, outcome=bare.outcomes[1])))
    assert with_logged("best", "all") == "all"
    assert with_logged("all", "best") == "all"
    assert with_logged("none", "best") == "best"
    assert with_logged(None, "none") is None
    assert with_logged(None, "best") is None  # the best is kept, and what is kept already stays
    assert with_logged(None, "all") == "all"
    assert with_logged(["ONNX_CPU"], "all") == ["ONNX_CPU"]


def test_sync_logs_what_the_store_missed(stored_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, progress = measured_job(stored_home, "all", ok("EAGER", 20.0), ok("ONNX_CPU", 10.0)), Said()
    log, failed = converted_models.log_model, iter([TrackingError("no room"), None])

    def log_or_fail(uri: str, model: Any) -> str | None:
        if error := next(failed, None):
            raise error
        return log(uri, model)

    monkeypatch.setattr(model_logging, "log_model", log_or_fail)
    monkeypatch.setattr(model_logging, "answers", lambda _: True)
    files = JobFiles.of(made.directory)
    store = JobStore(resolve_uri(None), progress)
    closed = store.close(files, made, Status.OK)
    assert (closed.tracked, logged()) == (False, set())  # models come last
    closed = store.log_models(files, closed)
    assert progress.lines == ["warning: no room; the job goes on, and `almaflow sync` writes what is missing"]
    assert not closed.tracked
    assert logged() == {"EAGER"}  # which comes after it
    assert all(each.run_id for each in files.read_job().outcomes)
    (synced,) = sync(resolve_uri(None))
    assert synced.why_not is None
    assert logged() == {"EAGER", "ONNX_CPU"}
    assert list(sync(resolve_uri(None))) == []
    assert synced.job is not None
    store = JobStore(resolve_uri(None), progress)
    assert store.log_models(files, store.close(files, synced.job, Status.OK)).tracked
    assert progress.lines[1:] == ["logged as MLflow models: ONNX_CPU, EAGER"]


def test_a_kept_model_that_is_damaged_is_told(home: Path) -> None:
    made = measured_job(home, "best", with_run("EAGER", 20.0))
    path = home / "jobs" / "j" / "kept" / "EAGER" / "export.json"
    path.write_bytes(b"[]")
    with pytest.raises(TrackingError, match="it is not logged as a model until its directory is removed") as raised:
        log_kept(made, "sqlite:///none.db")
    assert str(path) in str(raised.value)


def test_a_job_whose_best_model_is_damaged_says_so_and_is_not_done(stored_home: Path) -> None:
    made, progress = measured_job(stored_home, "best", ok("EAGER", 20.0)), Said()
    (stored_home / "jobs" / "j" / "kept" / "EAGER" / "export.json").write_bytes(b"[]")
    files, store = JobFiles.of(made.directory), JobStore(resolve_uri(None), progress)
    closed = store.log_models(files, store.close(files, made, Status.OK))
    assert not closed.tracked
    (line,) = progress.lines
    assert "it is not logged as a model until its directory is removed" in line


def test_a_model_that_cannot_be_logged_keeps_no_other_one_away(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = measured_job(home, "all", *(with_run(name, ms) for name, ms in (("EAGER", 20.0), ("ONNX_CPU", 10.0))))
    tried: list[str] = []

    def refused(_: str, model: Any) -> None:
        tried.append(model.export.conversion)
        message = f"{model.export.conversion} is too large"
        raise TrackingError(message)

    monkeypatch.setattr(model_logging, "log_model", refused)
    monkeypatch.setattr(model_logging, "answers", lambda _: True)
    with pytest.raises(TrackingError, match=r"^ONNX_CPU is too large; EAGER is too large$"):
        log_kept(made, "sqlite:///none.db")
    assert tried == ["ONNX_CPU", "EAGER"]
    monkeypatch.setattr(model_logging, "answers", lambda _: False)
    with pytest.raises(TrackingError, match=r"^ONNX_CPU is too large$"):
        log_kept(made, "sqlite:///none.db")


def test_an_interrupted_job_leaves_its_models_to_sync(stored_home: Path) -> None:
    made = replace(measured_job(stored_home, "all", ok("EAGER", 20.0)), interrupted=True)
    files = JobFiles.of(made.directory)
    store = JobStore(resolve_uri(None), Said())
    closed = store.log_models(files, store.close(files, made, Status.FAILED))
    assert (closed.tracked, logged()) == (False, set())
    (synced,) = sync(resolve_uri(None))
    assert synced.why_not is None
    assert logged() == {"EAGER"}
