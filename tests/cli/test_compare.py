"""What differs between two results, and whether it is more than noise."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tests.support.example_jobs import failed, in_rounds, ok
from tests.support.stored_jobs import stored

from almaflow.analysis.compare import Side, compare, pair
from almaflow.cli.compare import compare as command
from almaflow.errors import UsageError
from almaflow.report.compare import comparisons_table, render_comparisons
from almaflow.report.console import PlainConsole

if TYPE_CHECKING:
    from almaflow.records import Job

FACTS = {"params.model": "resnet18", "params.batch_size": "1", "tags.env.torch": "2.14.1", "tags.mlflow.user": "x"}
latencies = st.floats(0.01, 1e4)


def side(low: float, high: float, conversion: str = "EAGER", **facts: str) -> Side:
    metrics = {"latency_ms": (low + high) / 2, "latency/ci_low": low, "latency/ci_high": high}
    return Side("a", conversion, metrics, FACTS | {name.replace("__", "."): value for name, value in facts.items()})


@pytest.mark.parametrize(
    ("after", "verdict"),
    [((8.0, 9.0), "faster"), ((9.5, 10.5), "no difference"), ((11.5, 12.0), "slower"), ((11.0, 12.0), "no difference")],
)
def test_the_verdict_is_by_the_intervals(after: tuple[float, float], verdict: str) -> None:
    assert compare(side(10, 11), side(*after)).verdict == verdict


@given(latencies, latencies, latencies, latencies)
def test_the_verdict_turns_round_with_the_sides(a: float, b: float, c: float, d: float) -> None:
    one, other = side(min(a, b), max(a, b)), side(min(c, d), max(c, d))
    opposite = {"faster": "slower", "slower": "faster", "no difference": "no difference"}
    assert compare(other, one).verdict == opposite[compare(one, other).verdict]
    assert compare(one, one).verdict == "no difference"


def test_results_of_two_machines_say_which_machine_each_is_of() -> None:
    here = side(10, 11, params__hardware="small", tags__almaflow__machine="aaaaaa111111")
    there = side(5, 6, params__hardware="small", tags__almaflow__machine="bbbbbb222222")
    found = compare(here, there)
    assert ("tags.almaflow.machine", "aaaaaa111111", "bbbbbb222222") in found.settings
    stream = io.StringIO()
    render_comparisons([found], [], PlainConsole(file=stream, width=120))
    assert "on small aaaaaa and on small bbbbbb" in stream.getvalue()
    table = list(csv.DictReader(io.StringIO(comparisons_table([found], "csv"))))
    assert (table[0]["machine_before"], table[0]["machine_after"]) == ("small aaaaaa", "small bbbbbb")


def test_results_of_the_same_hardware_are_paired_before_others() -> None:
    before = [side(10, 11, params__hardware=each) for each in ("small", "large")]
    after = [side(10, 11, params__hardware=each) for each in ("large", "small")]
    pairs, alone = pair(before, after)
    assert [(one.machine, other.machine) for one, other in pairs] == [("small", "small"), ("large", "large")]
    assert alone == []


def test_a_failure_is_no_verdict() -> None:
    broken = Side("b", "EAGER", {}, FACTS | {"tags.almaflow.failure": "timeout"})
    found = compare(side(10, 11), broken)
    assert (found.verdict, found.why) == ("failed", "b: timeout")
    assert [(each.metric, each.percent) for each in found.differences] == [("latency_ms", None)]


def test_without_intervals_nothing_is_claimed() -> None:
    bare = Side("a", "EAGER", {"latency_ms": 10.0}, FACTS)
    assert compare(bare, replace(bare, metrics={"latency_ms": 1.0})).verdict == "not known"


def test_only_what_differs_is_told_and_what_makes_it_another_thing_is_warned_of() -> None:
    found = compare(side(10, 11), side(10, 11, tags__env__torch="2.15.0", params__threads="4"))
    assert found.settings == (("params.threads", "", "4"), ("tags.env.torch", "2.14.1", "2.15.0"))
    assert found.warnings == ("threads differs: none, 4",)


def test_counterparts_are_of_the_same_workload() -> None:
    before = [side(1, 2), side(1, 2, "ONNX_CPU")]
    after = [side(1, 2, "ONNX_CPU"), side(1, 2, "COMPILE_TVM")]
    pairs, alone = pair(before, after)
    assert [(one.conversion, other.conversion) for one, other in pairs] == [("ONNX_CPU", "ONNX_CPU")]
    assert [each.conversion for each in alone] == ["EAGER", "COMPILE_TVM"]
    assert pair(before[:1], after[1:])[0] == [(before[0], after[1])]


def test_a_static_result_has_the_static_one_for_its_counterpart() -> None:
    static, dynamic = side(1, 2), side(1, 2, params__dynamic="batch")
    assert pair([static, dynamic], [dynamic, static])[0] == [(static, static), (dynamic, dynamic)]
    assert pair([dynamic, static], [static, side(1, 2, "ONNX_CPU")])[0] == [(static, static)]
    # Two jobs of which one is dynamic are still put beside each other, with a warning.
    other = side(1, 2, "ONNX_CPU"), side(1, 2, "ONNX_CPU", params__dynamic="batch")
    pairs, alone = pair([static, other[0]], [dynamic, other[1]])
    assert (pairs, alone) == ([(static, dynamic), other], [])
    assert compare(*pairs[0]).warnings == ("dynamic differs: none, batch",)


def told(before: list[Side], after: list[Side], width: int = 80) -> str:
    pairs, alone = pair(before, after)
    console = PlainConsole(file=io.StringIO(), width=width)
    render_comparisons([compare(*each) for each in pairs], alone, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


LONG = "20261126-181600-0d07c0"


def test_percentages_and_decibels_change_by_points_and_shares_by_a_hundredth() -> None:
    one, other = (
        replace(
            side(10, 11, params__hardware="x"),
            label=LONG,
            metrics={
                "latency_ms": 10.5,
                "prediction_error_pct": error,
                "fidelity/sqnr_db": sqnr,
                "fidelity/top1_agreement": top,
            },
        )
        for error, sqnr, top in ((-21.27, 118.0, 1.0), (-34.9, 29.0, 0.98))
    )
    text = told([one], [other])
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "prediction_error_pct -21.27 -34.9 -13.6 points" in lines
    assert "fidelity/sqnr_db 118 29 -89.0 dB" in lines
    assert "fidelity/top1_agreement 1 0.98 -2.0 points" in lines
    assert "latency_ms 10.5 10.5 +0.0%" in lines
    assert lines[:2] == [f"before: {LONG}", f"after: {LONG}"]
    assert "resnet18 b1 EAGER" in lines
    assert max(map(len, text.splitlines())) <= 80


def test_two_with_nothing_in_common_are_told_so_in_one_sentence() -> None:
    before = [side(1, 2), side(1, 2, "ONNX_CPU")]
    after = [replace(side(1, 2, name, params__batch_size="4"), label="b") for name in ("EAGER", "ONNX_CPU")]
    assert told(before, after) == "a and b have no conversion of the same model and batch size in common\n"
    one_alone = told([*before], [replace(before[0], label="b")])
    assert "only in a: resnet18 b1 ONNX_CPU" in one_alone


@pytest.fixture
def two_jobs() -> tuple[Job, Job]:
    def steady(name: str, latency: float) -> list[float]:
        return [latency * (1 + share / 1000) for share in range(8)] if name else []

    jobs = []
    for name, eager, onnx in (("before", 20.0, 10.0), ("after", 20.1, 8.0)):
        outcomes = in_rounds(ok("EAGER"), steady("EAGER", eager)), in_rounds(ok("ONNX_CPU"), steady("ONNX_CPU", onnx))
        jobs.append(stored(name, *outcomes, failed("COMPILE_TVM")))
    return jobs[0], jobs[1]


@pytest.mark.slow
def test_jobs_in_a_store(two_jobs: tuple[Job, Job]) -> None:
    def told(*arguments: str) -> str:
        return CliRunner().invoke(command, [*arguments], catch_exceptions=False).output

    found = json.loads(told("before", "after", "--format", "json"))
    verdicts = {each["before"]["conversion"]: each["verdict"] for each in found["pairs"]}
    assert verdicts == {"EAGER": "no difference", "ONNX_CPU": "faster", "COMPILE_TVM": "failed"}
    (latency,) = (
        each["percent"]
        for each in found["pairs"][[each["before"]["conversion"] for each in found["pairs"]].index("ONNX_CPU")][
            "differences"
        ]
        if each["metric"] == "latency_ms"
    )
    assert latency == pytest.approx(-20, abs=0.5)
    before, after = two_jobs
    assert before.run_id
    assert after.run_id
    assert told(before.run_id, after.run_id, "--format", "json") != ""
    assert "ONNX_CPU" in told(before.outcomes[1].run_id or "", after.outcomes[1].run_id or "", "--format", "markdown")
    rows = list(csv.DictReader(io.StringIO(told("before", "after", "--format", "csv"))))
    assert {row["verdict"] for row in rows if row["metric"] == "latency_ms"} == {
        "faster",
        "no difference",
        "failed",
    }
    assert "<table" in told("before", "after", "--format", "html")
    assert "latency: faster, the intervals have no point in common" in told("before", "after")
    by_filter = told(*(f"--filter=tags.`almaflow.job_id` = '{name}'" for name in ("before", "after")))
    assert "latency: faster" in by_filter
    with pytest.raises(UsageError, match="nothing-like-it: no such run, job or sweep"):
        told("before", "nothing-like-it")
    with pytest.raises(UsageError, match="takes two things"):
        told("before")


def test_another_version_of_the_model_is_named() -> None:
    digests = ("tags__almaflow__digest__code", "tags__almaflow__digest__weights")
    one, other = (side(10, 11, **dict.fromkeys(digests, value), tags__almaflow__job_id=value) for value in "ab")
    found = compare(one, other)
    assert found.warnings == ("the model is another one: code, weights",)
    assert [name for name, _, _ in found.settings] == [name.replace("__", ".") for name in digests]
    (warning,) = compare(side(10, 11), other).warnings
    assert warning == "the model may be another one, not known of both: code, weights"
    assert compare(one, one).warnings == ()


def test_figures_of_quality_are_compared_where_the_evaluations_agree() -> None:
    figures = {"quality/top1": 0.76, "quality/top1_drop": 0.01, "quality/samples": 500.0}
    setting = {"params.evaluate.target": "a.top1", "params.evaluate.samples": "500"}
    before = replace(side(10, 11), metrics={**side(10, 11).metrics, **figures}, facts=FACTS | setting)
    after = replace(before, metrics={**before.metrics, "quality/top1": 0.7, "quality/top1_drop": 0.07})
    shown = {each.metric: each.points for each in compare(before, after).differences}
    assert shown["quality/top1"] == pytest.approx(-0.06)
    assert shown["quality/top1_drop"] == pytest.approx(0.06)
    other = compare(before, replace(after, facts=FACTS | setting | {"params.evaluate.samples": "100"}))
    assert "quality/top1" not in {each.metric for each in other.differences}
    assert other.warnings == other.other_evaluation == ("quality is not compared, evaluate.samples differs: 500, 100",)
    assert other.incomparable == ()  # the latencies are
    assert compare(side(10, 11), after).warnings == ()  # one has no evaluation
