"""``almaflow run choose...`` as it is typed: the answer, the exit code, sweeps."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.support.example_jobs import changed, failed, job, ok

from almaflow.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.jobs.request import Request
    from almaflow.measure.progress import Progress
    from almaflow.records import Choosing, Job

OUTCOMES = (
    changed(ok("EAGER", 20.0), model_mb=47.0),
    changed(ok("ONNX_CPU", 5.0), model_mb=12.0),
    failed("COMPILE_TVM"),
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Choosing]:
    """Jobs measure nothing; the list gets what each was asked to choose."""
    found: list[Choosing] = []

    def measured(request: Request, progress: Progress) -> Job:
        found.append(request.choose)
        made = replace(job(*OUTCOMES), choose=request.choose)
        progress.measured(made)
        return made

    monkeypatch.setattr("almaflow.jobs.run.run_job", measured)
    monkeypatch.setattr("almaflow.sweeps.record.track", lambda *_: None)
    monkeypatch.setattr("almaflow.sweeps.record.store_of", lambda _: None)
    monkeypatch.setattr("almaflow.tracking.reader.job_times", lambda *_: {})
    return found


def code_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["run", "model=simple", "tier=1", *arguments])
    return int(ended.value.code or 0)


def test_the_best_that_fits_is_shown_and_the_others_reasons(
    asked: list[Choosing], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "r.json"
    limits = ("choose.max.latency/mean=30", "choose.max.memory/model_mb=20", "choose.min.fidelity/sqnr_db=40")
    assert code_of(*limits, "choose.by=latency/floor", f"output={file}") == 0
    assert asked[0].max == {"latency/mean": 30, "memory/model_mb": 20}
    assert (asked[0].min, asked[0].by) == ({"fidelity/sqnr_db": 40}, "latency/floor")
    shown = " ".join(capsys.readouterr().out.split())
    assert "Chosen: ONNX_CPU, lowest latency/floor (4.955); 1 of 2 fits latency/mean <= 30, memory" in shown
    assert "EAGER: memory/model_mb 47 > 20" in shown
    assert json.loads(file.read_text(encoding="utf-8"))["choice"]["conversion"] == "ONNX_CPU"


def test_where_nothing_fits_the_exit_code_is_3_and_everything_is_recorded(
    asked: list[Choosing], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert code_of("choose.max.latency/p99=1", f"output={tmp_path / 'r.json'}") == 3
    assert "Chosen: none, no conversion fits latency/p99 <= 1" in capsys.readouterr().out
    assert (tmp_path / "r.json").exists()
    assert code_of("choose.max.latency/p99=1", "strict=true") == 1
    assert len(asked) == 2


def test_a_sweep_over_a_limit(asked: list[Choosing], capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("-m", "choose.max.latency/mean=1,10") == 3
    assert [each.max for each in asked] == [{"latency/mean": 1}, {"latency/mean": 10}]
    assert "no conversion keeps to the limits of choose" in " ".join(capsys.readouterr().out.split())


def test_a_name_that_is_none_is_told_before_anything_runs(
    asked: list[Choosing], capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of("choose.max.latency/p98=20") == 2
    assert capsys.readouterr().err.startswith("almaflow: choose.max.latency/p98: no such metric; nearest: latency/p9")
    assert asked == []
