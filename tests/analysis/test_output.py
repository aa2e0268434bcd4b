from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.example_jobs import GOOD, failed, job, measured, ok, unavailable

from almaflow.analysis import to_output
from almaflow.analysis.choose import candidates_of
from almaflow.analysis.output import completed
from almaflow.records import FailureKind, write_json

if TYPE_CHECKING:
    from pathlib import Path

INDUCTOR = "COMPILE_INDUCTOR_DEFAULT"


@pytest.mark.parametrize(
    ("told", "ok"),
    [
        ("ok", True),
        ("top1 fell by 0.2, more than evaluate.max_drop=0.1", False),
        ("not evaluated: x", None),
        (None, None),
    ],
)
def test_an_older_output_tells_in_words_whether_the_quality_is_kept(told: str | None, *, ok: bool | None) -> None:
    stored = {"conversions": [{"conversion": "A", "latency_ms": 1.0, "quality_verdict": told}]}
    known = completed(stored)
    assert known["conversions"][0]["quality_ok"] is ok
    assert list(candidates_of(known)) == ([] if ok is False else ["A"])


def test_the_file_holds_the_job_in_plan_order(tmp_path: Path) -> None:
    made = job(
        failed("ONNX_CPU", FailureKind.WRONG_OUTPUT, samples_ms=1.0),
        ok("EAGER", 20.0, predicted_ms=18.0),
        replace(ok(INDUCTOR, 10.0), run_id="r1"),
        unavailable("COMPILE_TENSORRT", "torch_tensorrt is not installed", "pip install torch-tensorrt"),
    )
    write_json(tmp_path / "r.json", to_output(made))
    found = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert (found["model"], found["hardware"], found["tier"], found["batch_size"]) == ("resnet18", "auto", 2, 2)
    assert (found["best_conversion"], found["best_speedup_vs_inductor"], found["headroom"]) == (INDUCTOR, 1.0, 1.0)
    assert found["environment"]["torch"] == "2.14.1"
    onnx, eager, inductor, tensorrt = found["conversions"]
    assert [onnx["conversion"], onnx["status"], onnx["failure"]] == ["ONNX_CPU", "failed", "wrong_output"]
    assert onnx["latency_ms"] is None
    assert onnx["speedup_vs_eager"] is None
    assert onnx["latency/samples"] == 21
    assert eager["prediction_error_pct"] < 0
    assert (inductor["run_id"], inductor["status"], inductor["failure"], inductor["message"]) == (
        "r1",
        "ok",
        None,
        None,
    )
    assert tensorrt["status"] == "unavailable"
    assert tensorrt["failure"] == "missing_dependency"
    assert tensorrt["install"] == "pip install torch-tensorrt"
    assert tensorrt["latency_ms"] is None
    uses = {made["use"]: made["conversion"] for made in found["recommendations"]}
    assert uses["quick deploy"] == INDUCTOR


def test_a_job_without_outcomes_has_the_same_fields() -> None:
    empty, full = to_output(job()), to_output(job(ok()))
    assert set(empty) == set(full)
    assert (empty["conversions"], empty["best_conversion"], empty["best_latency_ms"]) == ([], None, None)


@given(st.floats(), st.floats(), st.lists(st.floats(0, 1e9), max_size=5))
def test_it_is_json_whatever_was_measured(sqnr_db: float, cosine: float, samples: list[float]) -> None:
    outcome = replace(ok(), measurement=measured(samples, fidelity=replace(GOOD, sqnr_db=sqnr_db, cosine=cosine)))
    output = to_output(job(outcome, ok(INDUCTOR)))
    assert json.loads(json.dumps(output, allow_nan=False)) == output
