"""``almaflow export``: a folder, what its check found, and the figures in the store."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from tests.jobs.test_kept import export_at
from tests.support.example_jobs import changed, ok
from tests.support.stored_jobs import new, stored

from almaflow.cli.export import export as command
from almaflow.errors import AlmaflowError, TrackingError, UsageError
from almaflow.jobs import kept_check
from almaflow.jobs.files import JobFiles
from almaflow.jobs.kept_check import Checked
from almaflow.records import TensorSpec, write_json
from almaflow.records.export import read_export
from almaflow.tracking.reader import runs_of
from almaflow.tracking.session import connect
from almaflow.tracking.uris import resolve_uri

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.records import Job

CHECKED = Checked(None, sqnr_db=112.4, load_s=0.5, first_call_s=0.02, floor_ms=10.5, calls=200, floor_ratio=1.05)
SERVE = "mlflow models serve --env-manager local --host 127.0.0.1 --model-uri"
LINE = (
    "Checked in a fresh process: outputs equal the job's, SQNR 112 dB; loaded in 0.50 s, first call 0.02 s, "
    "floor of 200 calls 10.5 ms, 1.05 times the job's"
)


@pytest.fixture
def done(stored_home: Path) -> Job:
    made = stored("exported", changed(ok("ONNX_CPU", 10.0), export_mb=0.001), made=replace(new("exported"), config={}))
    export_at(stored_home / "jobs" / "exported" / "kept" / "ONNX_CPU", "ONNX_CPU")
    made = replace(made, store=resolve_uri(None))
    JobFiles.of(made.directory).write_job(made)
    return made


def run(*arguments: object) -> Any:
    return CliRunner().invoke(command, [str(each) for each in arguments])


def test_the_folder_is_written_checked_and_its_figures_are_in_the_store(
    done: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_check, "check_export", lambda _exported: CHECKED)
    told = run(done.job_id, "--to", tmp_path / "out")
    assert told.exit_code == 0, told.exception
    assert told.stdout.splitlines() == [
        f"ONNX_CPU of mine, 1 kB: {tmp_path / 'out'}",
        LINE,
    ]
    (found,) = runs_of(resolve_uri(None), "exported")
    assert {name: value for name, value in found.metrics.items() if name.startswith("export/")} == {
        "export/size_mb": 0.001,
        "export/load_s": 0.5,
        "export/first_call_s": 0.02,
        "export/floor_ms": 10.5,
        "export/floor_ratio": 1.05,
    }
    # The run of the conversion names it too.
    assert run(found.run_id, "--to", tmp_path / "again", "--no-check").exit_code == 0


def test_a_model_that_answers_otherwise_ends_it_with_1(
    done: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = replace(CHECKED, fault="output 0: SQNR 3.0 dB, at least 50")
    monkeypatch.setattr(kept_check, "check_export", lambda _exported: wrong)
    told = run(done.job_id, "--to", tmp_path / "out")
    assert isinstance(told.exception, AlmaflowError)
    assert not isinstance(told.exception, UsageError)
    assert "answers otherwise" in str(told.exception)


def test_a_store_that_cannot_be_reached_costs_one_line(
    done: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_check, "check_export", lambda _exported: CHECKED)
    told = run(done.job_id, "--to", tmp_path / "out", "--uri", "http://127.0.0.1:9")
    assert told.exit_code == 0, told.exception
    assert len(told.stderr.splitlines()) == 1
    assert "could not be written" in told.stderr


def test_wrong_words_are_told(stored_home: Path, tmp_path: Path) -> None:
    del stored_home
    assert "no such job" in str(run("nobody", "--to", tmp_path / "out").exception)
    assert run("nobody").exit_code == 2  # neither --to nor --register


def test_a_model_is_registered_after_it_was_checked(done: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_check, "check_export", lambda _exported: CHECKED)
    made_folder = tmp_path / "out"
    told = run(done.job_id, "--to", made_folder, "--register", "mine", "--alias", "champion")
    assert told.exit_code == 0, told.exception
    store = resolve_uri(None)
    assert told.stdout.splitlines() == [
        f"ONNX_CPU of mine, 1 kB: {made_folder}",
        LINE,
        "Registered as version 1 of mine, alias champion",
        f"Serve it: MLFLOW_TRACKING_URI={store} {SERVE} models:/mine@champion",
    ]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    told = run(done.job_id, "--register", "mine", "--no-check")
    assert told.stdout.splitlines() == [
        "ONNX_CPU of mine, 1 kB",
        "Registered as version 1 of mine",
        f"Serve it: {SERVE} models:/mine/1",
    ]
    client = connect(store)
    (logged,) = client.search_logged_models([each.experiment_id for each in client.search_experiments()])
    assert client.get_model_version("mine", "1").source == logged.artifact_location
    figures = {each.key: each.value for each in logged.metrics or ()}
    assert (figures["latency_ms"], figures["export/load_s"]) == (10.0, 0.5)


def test_what_cannot_be_registered_is_told_before_anything_is_written(
    done: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = ("--to", tmp_path / "out")
    assert "--register a/b: Invalid model name" in str(run(done.job_id, *to, "--register", "a/b").exception)
    assert "--alias v1: MLflow takes" in str(run(done.job_id, *to, "--register", "a", "--alias", "v1").exception)
    down = run(done.job_id, *to, "--register", "a", "--uri", "http://127.0.0.1:9")
    assert isinstance(down.exception, TrackingError)
    assert run(done.job_id, *to, "--alias", "champion").exit_code == 2
    assert not (tmp_path / "out").exists()
    wrong = replace(CHECKED, fault="output 0: SQNR 3.0 dB, at least 50")
    monkeypatch.setattr(kept_check, "check_export", lambda _exported: wrong)
    assert "answers otherwise" in str(run(done.job_id, "--register", "mine").exception)
    assert connect(resolve_uri(None)).search_registered_models() == []


@pytest.mark.parametrize(
    ("dtypes", "told"),
    [
        (["float32"], "outputs equal the job's to the bit;"),
        (["float32", "int64"], "floating outputs equal the job's to the bit;"),
        (["int64", "bool"], "outputs equal the job's in 99% of the elements or more;"),
    ],
)
def test_integers_are_not_said_to_be_equal_to_the_bit(
    done: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dtypes: list[str], told: str
) -> None:
    kept = JobFiles.of(done.directory).root / "kept" / "ONNX_CPU"
    outputs = tuple(TensorSpec((2, 3), each) for each in dtypes)
    write_json(kept / "export.json", replace(read_export(kept), outputs=outputs, arithmetic="float32"))
    monkeypatch.setattr(kept_check, "check_export", lambda _exported: replace(CHECKED, sqnr_db=None))
    assert f"Checked in a fresh process: {told}" in run(done.job_id, "--to", tmp_path / "out").stdout
