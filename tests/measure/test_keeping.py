"""Workers write their models where these may be kept: all of some, or those that may be the fastest."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.support.example_jobs import changed, job, ok, planned

from almaflow.analysis.verdict import may_be_best
from almaflow.measure.conversion_run import ConversionRun
from almaflow.measure.keeping import Keeping
from almaflow.records import EvaluateSpec, QualityDrop
from almaflow.records.protocol import RoundReport
from almaflow.records.specs import Choosing

if TYPE_CHECKING:
    from pathlib import Path

NAMES = frozenset({"EAGER", "ONNX_CPU", "OPENVINO"})


def run_of(path: Path, name: str, *medians_ms: float) -> ConversionRun:
    run = ConversionRun(planned(name), path / name)
    worker: Any = SimpleNamespace(reports=[RoundReport(3, each, 0.1) for each in medians_ms])
    run.worker = worker
    return run


def end(run: ConversionRun, median_ms: float, *, written: bool = True) -> ConversionRun:
    run.outcome = changed(ok(run.planned.name, median_ms), export_mb=4.0 if written else None)
    run.worker = None
    return run


def test_named_ones_write_and_no_others(tmp_path: Path) -> None:
    keeping = Keeping(frozenset({"ONNX_CPU"}))
    runs = [run_of(tmp_path, "EAGER", 1.0), run_of(tmp_path, "ONNX_CPU", 9.0)]
    assert keeping.in_order(runs) is runs
    assert [keeping.wants(run) for run in runs] == [False, True]
    assert not keeping.wants(run_of(tmp_path, "ONNX_CPU"))  # it was never timed


def test_of_the_best_the_fastest_ends_first_and_slower_ones_write_nothing(tmp_path: Path) -> None:
    keeping = Keeping(NAMES, only_best=True)
    eager, onnx, openvino = (
        run_of(tmp_path, name, ms) for name, ms in zip(sorted(NAMES), (30.0, 10.0, 10.2), strict=True)
    )
    assert keeping.in_order([eager, onnx, openvino]) == [onnx, openvino, eager]
    assert keeping.wants(onnx)
    keeping.learn(end(onnx, 10.0))
    assert keeping.wants(openvino)  # its median is known only when it has ended
    assert not keeping.wants(eager)


def test_what_does_not_count_or_was_not_written_stops_no_other(tmp_path: Path) -> None:
    keeping = Keeping(NAMES, only_best=True)
    fast, slow = run_of(tmp_path, "ONNX_CPU", 10.0), run_of(tmp_path, "EAGER", 30.0)
    keeping.learn(end(fast, 10.0, written=False))
    assert keeping.wants(slow)
    keeping.learn(run_of(tmp_path, "OPENVINO", 5.0))  # without an outcome
    assert keeping.wants(slow)


def test_what_lost_too_much_quality_or_is_beyond_a_limit_stops_no_other(tmp_path: Path) -> None:
    made = replace(job(), evaluate=EvaluateSpec("a.b", max_drop=0.01), choose=Choosing(max={"memory/model_mb": 9}))
    keeping = Keeping(NAMES, only_best=True, may_be_best=lambda outcome: may_be_best(made, outcome))
    fast, slow = run_of(tmp_path, "ONNX_CPU", 10.0), run_of(tmp_path, "EAGER", 30.0)
    drops = {"top1": QualityDrop(0.05, 0.02, 0.08)}
    for values, wanted in (({"quality_drops": drops}, True), ({"model_mb": 10.0}, True), ({}, False)):
        fast.outcome = changed(ok("ONNX_CPU", 10.0), **{"export_mb": 4.0, "model_mb": 8.0, **values})
        keeping.learn(fast)
        assert keeping.wants(slow) is wanted
