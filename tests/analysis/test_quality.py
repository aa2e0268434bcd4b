"""Quality on labelled data in metrics, verdict, warnings and every document."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from tests.support.example_jobs import changed, failed, job, ok

from almaflow.analysis import analyse, to_output
from almaflow.analysis.quality import figures_in, shown, verdict
from almaflow.analysis.rows import make_row
from almaflow.api.results import result_of
from almaflow.jobs.strictness import shortfalls
from almaflow.records import Choosing, EvaluateSpec, QualityDrop, ReferenceInfo, TargetSpec
from almaflow.report.html_page import document
from almaflow.report.markdown import line, summary_markdown
from almaflow.report.table import render
from almaflow.tracking.fingerprints import measure_params, plan_fingerprint
from almaflow.tracking.schema import job_params, job_tags, tags
from almaflow.tracking.ui_views import JOB, views_of

if TYPE_CHECKING:
    from almaflow.records import Job, Outcome

SPEC = EvaluateSpec("figures.top1", samples=500, max_drop=0.01)
PREPARED = ReferenceInfo((), (), 1, "x", "cpu", {}, 0.1, quality={"top1": 0.76}, quality_samples=500)


def evaluated(name: str, ms: float, drop: QualityDrop | None = None, **values: Any) -> Outcome:
    drop = drop or QualityDrop(0.0, -0.002, 0.002)
    found = {"quality": {"top1": 0.76 - drop.value}, "quality_drops": {"top1": drop}, "quality_samples": 500}
    return changed(ok(name, ms), **(found | values))


def labelled(*outcomes: Outcome, spec: EvaluateSpec | None = SPEC) -> Job:
    return replace(job(*outcomes), evaluate=spec, prepared=PREPARED)


LOSSY = QualityDrop(0.034, 0.012, 0.056)
LOST = "top1 fell by 0.034 (0.012 to 0.056), more than evaluate.max_drop=0.01"


def example() -> Job:
    return labelled(evaluated("EAGER", 20.0), evaluated("ONNX_CPU", 8.0), evaluated("OPENVINO_INT8", 4.0, LOSSY))


def test_the_metrics_are_the_figure_its_loss_and_the_interval() -> None:
    made = labelled(evaluated("OPENVINO_INT8", 4.0, LOSSY, calibration_samples=8))
    metrics = make_row(made, made.outcomes[0]).metrics
    assert {name: value for name, value in metrics.items() if name.startswith(("quality/", "calibration/"))} == {
        "quality/top1": pytest.approx(0.726),
        "quality/top1_drop": 0.034,
        "quality/top1_drop_low": 0.012,
        "quality/top1_drop_high": 0.056,
        "quality/samples": 500,
        "calibration/samples": 8,
    }
    assert figures_in(metrics) == ["top1"]
    assert shown(metrics) == "0.726 (-0.034)"
    assert shown({}) == ""
    assert shown({"quality/val_loss": 0.6, "quality/val_loss_drop": 0.1}) == "0.6 (+0.1)"
    assert shown({"quality/depth": 0.6, "quality/depth_drop": 0.1}, ["depth"]) == "0.6 (+0.1)"


def test_a_figure_that_grows_as_it_gets_worse_is_shown_and_judged_so_everywhere() -> None:
    def depth(name: str, ms: float, metres: float) -> Outcome:
        lost = QualityDrop(metres - 2.0, metres - 2.1, metres - 1.9)
        return evaluated(name, ms, quality={"depth": metres}, quality_drops={"depth": lost})

    spec = EvaluateSpec("figures.depth", lower_is_better=("depth",))
    made = labelled(depth("EAGER", 20.0, 2.0), depth("ONNX_CPU", 8.0, 2.5), spec=spec)
    made = replace(made, choose=Choosing(by="quality/depth"))
    analysis = analyse(made)
    assert analysis.choice is not None
    assert analysis.choice.conversion == "EAGER"
    assert analysis.pareto == ("ONNX_CPU", "EAGER")
    assert to_output(made)["lower_is_better"] == ["depth"]
    assert result_of(to_output(made)).choose(by="quality/depth").conversion == "EAGER"
    assert "2.5 (+0.5)" in summary_markdown(made, analysis)
    assert "2.5 (+0.5)" in line(analysis.rows[0]).replace("\\", "")
    assert "2.5 (+0.5)" in document("title", [to_output(made)])


def test_the_best_one_is_the_fastest_of_those_that_kept_their_quality() -> None:
    made = example()
    analysis = analyse(made)
    assert analysis.best_conversion == "ONNX_CPU"
    assert "OPENVINO_INT8" not in {each.conversion for each in analysis.recommendations} | {*analysis.tied_with_best}
    assert [row.name for row in analysis.rows] == ["OPENVINO_INT8", "ONNX_CPU", "EAGER"]  # it is shown all the same
    assert analyse(replace(made, evaluate=replace(SPEC, max_drop=None))).best_conversion == "OPENVINO_INT8"
    assert analyse(replace(made, evaluate=replace(SPEC, max_drop=0.034))).best_conversion == "OPENVINO_INT8"


@pytest.mark.parametrize(
    ("drop", "figure", "told"),
    [
        (LOSSY, "top1", LOST),
        (
            QualityDrop(0.02, -0.01, 0.05),
            "top1",
            "top1 fell by 0.02 (-0.01 to 0.05), more than evaluate.max_drop=0.01, ",
        ),
        (QualityDrop(0.02), "top1", "top1 fell by 0.02, more than evaluate.max_drop=0.01"),
        (LOSSY, "loss", LOST.replace("top1 fell", "loss grew")),
        (LOSSY, "depth", LOST.replace("top1 fell", "depth grew")),
        (QualityDrop(0.009, 0.0, 0.02), "top1", "ok"),
        (QualityDrop(0.76 - 0.75, 0.0, 0.02), "top1", "ok"),  # 0.010000000000000009
        (QualityDrop(-0.5, -0.6, -0.4), "top1", "ok"),
    ],
)
def test_the_verdict_says_how_sure_it_is(drop: QualityDrop, figure: str, told: str) -> None:
    made = labelled(evaluated("ONNX_CPU", 4.0, quality_drops={figure: drop}))
    made = replace(made, evaluate=replace(SPEC, lower_is_better=("depth",)))
    found = verdict(made, made.outcomes[0])
    assert found == told or (found and told.endswith(", ") and found.startswith(told))
    assert tags(made, made.outcomes[0])["almaflow.quality"] == found
    assert to_output(made)["conversions"][0]["quality_verdict"] == found
    assert to_output(made)["conversions"][0]["quality_ok"] is (told == "ok")


def test_without_an_evaluation_nothing_is_said() -> None:
    made = job(ok("EAGER"), ok("ONNX_CPU", 8.0))
    assert verdict(made, made.outcomes[0]) is None
    assert "almaflow.quality" not in tags(made, made.outcomes[0]) | job_tags(made)
    assert to_output(made)["conversions"][0]["quality_verdict"] is None
    assert to_output(made)["conversions"][0]["quality_ok"] is None
    assert "evaluate.target" not in job_params(made)


def test_one_that_cannot_be_evaluated_counts_and_is_told_and_strict_does_not_let_it_pass() -> None:
    broken = changed(ok("ONNX_CPU", 8.0), quality_error="evaluate._target_=f: raised ValueError: no")
    made = labelled(evaluated("EAGER", 20.0), broken)
    assert analyse(made).best_conversion == "ONNX_CPU"
    told = "not evaluated: evaluate._target_=f: raised ValueError: no"
    assert analyse(made).warnings == (f"ONNX_CPU: {told}",)
    assert tags(made, broken)["almaflow.quality"] == told
    assert [outcome.planned.name for outcome in shortfalls(made)] == ["ONNX_CPU"]
    assert shortfalls(example()) == []


def test_calibrating_on_what_is_judged_is_warned_of() -> None:
    made = labelled(evaluated("EAGER", 20.0), evaluated("OPENVINO_INT8", 4.0, calibration_samples=8))
    (warned,) = analyse(made).warnings
    assert warned.startswith("OPENVINO_INT8: calibrated on samples that its quality is judged on")
    apart = replace(made, model=replace(made.model, calibration_loader=TargetSpec("other")))
    assert analyse(apart).warnings == ()
    assert analyse(replace(made, evaluate=None)).warnings == ()


def test_every_document_shows_it() -> None:
    made = example()
    analysis, output = analyse(made), to_output(made)
    console = Console(file=io.StringIO(), width=200)
    render(made, analysis, console)
    result = Console(file=io.StringIO(), width=200)
    page = document("a job", [output])
    assert isinstance(console.file, io.StringIO)
    assert isinstance(result.file, io.StringIO)
    for text in (console.file.getvalue(), summary_markdown(made, analysis), page):
        assert "top1" in text
        assert "0.726 (-0.034)" in text
        assert "0.76 (+0)" in text
        assert f"not recommended, {LOST}" in " ".join(text.replace("</code>:", ":").replace("\\_", "_").split())
    assert "eager on 500 labelled samples: top1 0.76" in console.file.getvalue()
    assert line(make_row(made, made.outcomes[2])).endswith(f"top1 0.726 (-0.034), not recommended: {LOST}")
    assert result_of(output).conversions[2]["quality/top1_drop"] == 0.034


def test_a_terminal_that_is_narrow_loses_nothing() -> None:
    console = Console(file=io.StringIO(), width=80)
    render(example(), analyse(example()), console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert all(each in text for each in ("0.726", "(-0.034)", "top1"))


def test_none_is_best_where_all_lost_too_much() -> None:
    made = labelled(evaluated("OPENVINO_INT8", 4.0, LOSSY), failed("EAGER"))
    assert analyse(made).best is None
    text = summary_markdown(made, analyse(made))
    assert text.startswith("**Best: none, no conversion has a valid latency and the quality asked for**")
    assert "0.726" in text


def test_mlflows_pages_have_the_columns_of_the_jobs_figures() -> None:
    made = example()
    assert job_tags(made)["almaflow.quality"] == "top1"
    page = next(view for view in views_of("a job", 0, job_tags(made)) if view.key == JOB)
    columns = page.state["selectedColumns"]
    at = columns.index("metrics.`quality/top1`")
    assert columns[at + 1] == "metrics.`quality/top1_drop`"
    assert at < columns.index("metrics.`throughput`")


def test_a_result_stands_for_a_job_with_an_evaluation_only_if_it_has_the_same() -> None:
    made, without = example(), replace(example(), evaluate=None)
    plan = [outcome.planned for outcome in made.outcomes]
    assert set(measure_params(without)) < set(measure_params(made))
    assert measure_params(made)["evaluate.samples"] == "500"
    assert measure_params(made)["evaluate.lower_is_better"] == "()"  # as in every earlier run
    assert plan_fingerprint(made, plan) != plan_fingerprint(without, plan)
    assert job_params(made)["evaluate.max_drop"] == "0.01"
    calibrated = replace(made, model=replace(made.model, calibration_loader=TargetSpec("x")))
    assert measure_params(calibrated)["calibration.target"] == "x"
