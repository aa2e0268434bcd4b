"""A sweep's record: which jobs it has, what became of them, what is shown of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner
from rich.console import Console
from tests.support.example_jobs import failed, job, ok

from almaflow.analysis import to_output
from almaflow.analysis.sweep import summarise
from almaflow.cli.run import run
from almaflow.cli.sweep import one_of, show_remaining, sweep_id
from almaflow.config.composition import compose
from almaflow.jobs.request import make_request
from almaflow.records import Sweep, SweepJob
from almaflow.report.sweep import render_sweep, sweep_markdown
from almaflow.sweeps import record as sweeping
from almaflow.sweeps.files import sweeps

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from almaflow.analysis.sweep import SweepSummary

PLANNED = (("model=resnet18", "batch_size=1", "tier=1"), ("model=resnet18", "batch_size=4", "tier=1"))


def ended(number: int, *, code: int = 0, error: str | None = None, **job_values: Any) -> SweepJob:
    output = None
    if error is None:
        made = job(ok("EAGER", 20.0), ok("ONNX_CPU", 10.0), failed("COMPILE_TVM"))
        made = replace(made, model=replace(made.model, batch_size=(1, 4)[number]), **job_values)
        output = to_output(made)
    return SweepJob(number, PLANNED[number], 100.0, 160.0, code, error, "almaflow", "sqlite:////x.db", output)


def summary(*jobs: SweepJob, planned: tuple[tuple[str, ...], ...] | None = PLANNED) -> SweepSummary:
    return summarise(Sweep("s1", ("model=resnet18", "batch_size=1,4"), planned, 90.0), jobs)


def shown(made: SweepSummary) -> str:
    console = Console(width=100)
    with console.capture() as captured:
        render_sweep(made, console)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def test_every_job_and_every_failure_is_shown() -> None:
    text = shown(summary(ended(0), ended(1, code=1, error="the model does not build")))
    assert "batch_size=1 " in text
    assert "model=resnet18" not in text, "what all jobs have in common tells nothing"
    assert "ONNX_CPU" in text
    assert "batch_size=1: COMPILE_TVM\n      error: it broke" in text
    assert "  batch_size=4\n      the model does not build" in text
    assert "1 without a good result" in text


def test_limits_that_nothing_keeps_to_are_told_as_such() -> None:
    made = summary(ended(0), ended(1, code=3))
    assert [row.problem for row in made.rows] == [None, "no conversion keeps to the limits of choose"]
    strict = summary(ended(0, code=1), ended(1, code=3))
    assert strict.rows[0].problem == "a conversion failed, which strict=true counts"


def test_a_job_that_never_ended_is_not_hidden() -> None:
    made = summary(ended(0))
    assert [row.problem for row in made.rows] == [None, "did not run"]
    assert made.metrics == {
        "jobs": 2,
        "jobs_failed": 1,
        "conversions_ok": 2,
        "conversions_failed": 1,
        "conversions_unavailable": 0,
    }


def test_a_job_that_began_and_was_lost_is_told_from_one_that_never_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALMAFLOW_HOME", str(tmp_path))
    held = sweeping.begin("s1", ["batch_size=1,2,4"], [[f"batch_size={size}"] for size in (1, 2, 4)], resumed=False)
    for number in (0, 1):
        held.files.begin_job(number)
    held.files.write_job(ended(0))
    problems = [row.problem for row in sweeping.end(held.files).rows]
    assert problems[0] is None
    assert problems[1] is not None
    assert "did not end" in problems[1]
    assert "resume=true" in problems[1]
    assert problems[2] == "did not run"


def test_jobs_that_nobody_planned_are_shown_as_they_come() -> None:
    assert [row.what for row in summary(ended(0), ended(1), planned=None).rows] == ["resnet18 b1", "resnet18 b4"]


def test_jobs_of_one_model_and_batch_size_are_told_apart_by_their_overrides() -> None:
    threads = [replace(ended(0), number=number, overrides=("x", f"hardware.threads={number + 1}")) for number in (0, 1)]
    assert [row.what for row in summary(*threads, planned=None).rows] == ["hardware.threads=1", "hardware.threads=2"]


def test_the_document_begins_with_the_best_conversions() -> None:
    """MLflow folds a description to its first lines."""
    text = sweep_markdown(summary(ended(0), ended(1, code=1, error="the model does not build")))
    assert text.startswith("**Best: batch_size=1: ONNX_CPU, 10.00 ms (2.0x eager)**\n")
    jobs = [replace(ended(0), number=number, overrides=(f"seed={number}",)) for number in range(5)]
    many = sweep_markdown(summary(*jobs, planned=None))
    assert many.startswith("**Best: ONNX_CPU in 5 of 5 jobs**\n")


def test_the_document_has_every_latency() -> None:
    text = sweep_markdown(summary(ended(0), ended(1)))
    assert "| `ONNX_CPU` | 10.00 | 10.00 |" in text
    assert "| resnet18 b1 | `COMPILE_TVM` | error: it broke |" in text


def test_a_sweep_is_resumed_by_its_overrides() -> None:
    first = sweeping.begin("s1", ["batch_size=1,4"], PLANNED, resumed=False)
    first.lock.release()
    other = sweeping.begin("s2", ["batch_size=1,8"], PLANNED, resumed=True)
    assert other.files.root.name == "s2"
    again = sweeping.begin("s3", ["resume=true", "batch_size=1,4"], PLANNED, resumed=True)
    assert again.files == first.files


def test_jobs_of_a_resumed_sweep_belong_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each job reads the sweep's name from its own configuration, which launchers compose in any process."""
    names = []

    def one_job(_: Any) -> int:
        names.append(sweep_id())
        with one_of(sweep_id()):
            return 0

    monkeypatch.setattr("almaflow.cli.run._one_job", one_job)
    for resumed in ([], ["resume=true"]):
        CliRunner().invoke(run, ["-m", "model=simple", "batch_size=1,2", *resumed], catch_exceptions=False)
    (files,) = sweeps()
    assert names == [files.root.name] * 4
    assert [job.number for job in files.jobs()] == [0, 1]


def test_where_results_go_is_not_kept() -> None:
    """A store's URI may hold a password, a file's name a user's."""
    given = ["model=resnet18", "batch_size=1,4", "tracking.uri=http://me:S3cret@host", "output=/home/me/r.json"]
    files = sweeping.begin("s1", given, [[*given[:1], "batch_size=1", *given[2:]]], resumed=False).files
    assert files.read().overrides == ("model=resnet18", "batch_size=1,4")
    assert files.read().planned == (("model=resnet18", "batch_size=1"),)
    assert make_request(compose(["tracking.uri=http://me:S3cret@host"])).config["tracking"]["uri"] == "http://***@host"


def test_a_sweep_that_still_runs_is_left_alone() -> None:
    running = sweeping.begin("s1", ["batch_size=1,4"], PLANNED, resumed=False)
    other = sweeping.begin("s2", ["batch_size=1,4", "resume=true"], PLANNED, resumed=True)
    assert other.files.root.name == "s2"
    running.files.write_job(ended(0))
    assert list(sweeping.untracked()) == []
    running.lock.release()
    assert [files.root.name for files in sweeping.untracked()] == ["s1"]


def test_nothing_is_estimated_of_a_sweep_that_is_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    """What the store has takes no time: an estimate from the jobs that measured it would be wrong."""
    request = make_request(compose(["model=resnet18", "resume=true"]))
    show_remaining("s1", request)  # reads neither the store nor the sweep, which is not there
    assert capsys.readouterr().err == ""


def test_what_remains_is_told_from_the_jobs_that_ended_and_from_history() -> None:
    files = sweeping.begin("s1", ["batch_size=1,4"], PLANNED, resumed=False).files
    same = ("resnet18", "1", "1")
    assert sweeping.remaining_s(files, 0, same, {}) is None
    assert sweeping.remaining_s(files, 0, same, {("resnet18", "1", "1"): 30.0}) == 60
    assert sweeping.remaining_s(files, 0, same, {("resnet18", "1", "1"): 30.0, ("resnet18", "4", "1"): 50.0}) == 80
    files.write_job(ended(0))
    assert sweeping.remaining_s(files, 1, same, {}) == 60
