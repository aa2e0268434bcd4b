"""``almaflow compare --fail-above``: exit codes, the comment, wrong input."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from tests.support.example_jobs import changed, failed, in_rounds, job, ok
from tests.support.stored_jobs import stored

from almaflow.analysis import outcome_metrics
from almaflow.cli.compare import compare
from almaflow.errors import UsageError
from almaflow.tracking.reader import StoredRun
from almaflow.tracking.schema import params, tags

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

    from almaflow.records import Outcome

STEADY = (1.0, 1.002, 0.999, 1.001, 1.0, 0.998, 1.002, 1.0)
Jobs = dict[str, tuple[StoredRun, ...]]


def steady(name: str, latency_ms: float) -> Outcome:
    return in_rounds(ok(name), [latency_ms * share for share in STEADY])


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A store with the jobs that the test gives it, by name."""
    jobs: Jobs = {}
    kept: dict[str, Outcome] = {}

    def add(name: str, *outcomes: Outcome, **facts: str) -> None:
        made = job(*outcomes)
        runs = []
        for each in outcomes:
            run_id = f"{name}-{each.planned.name}"
            kept[run_id] = each
            given, metrics = params(made, each) | facts, outcome_metrics(made, each)
            runs.append(StoredRun(run_id, "almaflow", 1.0, True, metrics, given, tags(made, each)))
        jobs[name] = tuple(runs)

    monkeypatch.setattr("almaflow.tracking.reader.runs_of", lambda _, name: list(jobs.get(name, ())))
    monkeypatch.setattr("almaflow.tracking.resumable.stored_outcome", lambda _, run_id: kept.get(run_id))
    return add


def ran(*arguments: str) -> Result:
    return CliRunner().invoke(compare, ["base", "head", *arguments], catch_exceptions=False, standalone_mode=False)


def test_a_slowdown_is_told_with_exit_code_3_and_as_a_comment(store: Callable[..., None]) -> None:
    store("base", steady("EAGER", 20.0), steady("ONNX_CPU", 10.0), failed("COMPILE_TVM"))
    store("head", steady("EAGER", 20.2), steady("ONNX_CPU", 12.0), failed("COMPILE_TVM"))
    done = ran("--fail-above", "5", "--format", "markdown")
    assert done.return_value == 3
    assert done.output.startswith("**Gate failed: 1 failed, 1 passed**\n\n| conversion | metric | before |")
    table = [line for line in done.output.splitlines() if line.startswith("| `resnet18")]
    assert table[0].startswith("| `resnet18 b2 ONNX_CPU` | `latency/floor` | ")
    assert "| 20.0% worse | 5% | failed: above the limit, and the intervals have no point in common |" in table[0]
    assert "| passed |" in table[1]
    assert "<details><summary>All figures: `base` and `head`</summary>\n\n## " in done.output
    shown = ran("--fail-above", "5")
    assert shown.return_value == 3
    assert "Gate failed: 1 failed, 1 passed\nfailed: resnet18 b2 ONNX_CPU latency/floor" in shown.output
    told = json.loads(ran("--fail-above", "25", "--format", "json").output)["gate"]
    assert (told["failed"], [each["verdict"] for each in told["judged"]]) == (False, ["passed", "passed"])
    assert ran("--fail-above", "25").return_value == 0
    assert ran().return_value == 0
    assert "gate" not in json.loads(ran("--format", "json").output)


def test_each_metric_may_have_a_limit_of_its_own(store: Callable[..., None]) -> None:
    store("base", steady("ONNX_CPU", 10.0))
    store("head", steady("ONNX_CPU", 12.0))
    assert ran("--metric", "latency/floor=25", "--metric", "latency_ms=30").return_value == 0
    assert ran("--metric", "latency/floor=25", "--metric", "latency_ms", "--fail-above", "5").return_value == 3


def test_what_failed_or_is_gone_fails_it(store: Callable[..., None]) -> None:
    store("base", steady("EAGER", 20.0), steady("ONNX_CPU", 10.0), steady("OPENVINO", 9.0))
    store("head", steady("EAGER", 20.0), failed("ONNX_CPU"), steady("COMPILE_TVM", 1.0))
    done = ran("--fail-above", "5")
    assert done.return_value == 3
    assert "failed: resnet18 b2 ONNX_CPU: no latency that counts any more: error\n" in done.output
    assert "failed: resnet18 b2 OPENVINO: not there any more\n" in done.output
    assert "only in head: resnet18 b2 COMPILE_TVM" in done.output


def test_two_machines_are_no_gate(store: Callable[..., None]) -> None:
    store("base", steady("EAGER", 20.0))
    store("head", steady("EAGER", 30.0), threads="8")
    with pytest.raises(UsageError, match=r"^no gate between base and head: threads differs: 2, 8$"):
        ran("--fail-above", "5")
    assert ran().return_value == 0


def test_figures_of_other_evaluations_are_no_gate_and_latencies_are(store: Callable[..., None]) -> None:
    for name, count in (("base", "500"), ("head", "100")):
        figures = {"quality": {"top1": 0.7}, "quality_samples": int(count)}
        store(name, changed(steady("EAGER", 20.0), **figures), **{"evaluate.samples": count})
    with pytest.raises(UsageError, match=r"^no gate .*: quality is not compared, evaluate.samples differs: 500, 100$"):
        ran("--metric", "quality/top1=1")
    assert ran("--fail-above", "5").return_value == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--fail-above", "5", "--metric", "latency/flor"],
            "--metric latency/flor: no such metric; nearest: latency/floor",
        ),
        (["--metric", "latency/floor"], "--metric latency/floor needs a limit: --fail-above 5, or"),
        (["--fail-above", "nan"], "the limit of latency/floor must be a number from 0 on, and is nan"),
        (["--metric", "latency/floor=-1"], "the limit of latency/floor must be a number from 0 on, and is -1"),
        (["--metric", "latency/floor=x"], "the limit of latency/floor must be a number from 0 on, and is x"),
        (["--fail-above", "5", "--format", "csv"], "--format csv has no place for the gate's verdict"),
    ],
)
def test_wrong_input_is_told_before_the_store_is_read(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        ran(*arguments)
    assert str(raised.value).startswith(message)


def test_where_nothing_can_be_judged_there_is_no_verdict(store: Callable[..., None]) -> None:
    store("base", in_rounds(ok("EAGER"), [20.0] * 3))
    store("head", in_rounds(ok("EAGER"), [30.0] * 3))
    with pytest.raises(
        UsageError, match=r"^no verdict: 1 of 1 could not be judged, the first one is above the limit, and"
    ):
        ran("--fail-above", "5")
    # Nor where one may have become worse, and another one has not.
    store("base", steady("ONNX_CPU", 20.0), in_rounds(ok("EAGER"), [20.0] * 3))
    store("head", steady("ONNX_CPU", 20.0), in_rounds(ok("EAGER"), [30.0] * 3))
    with pytest.raises(UsageError, match=r"^no verdict: 1 of 2 could not be judged"):
        ran("--fail-above", "5")
    # A metric that was not there before the change cannot have become worse.
    assert ran("--metric", "latency/floor=60", "--metric", "quality/top1=1").return_value == 0
    store("base", failed("EAGER"))
    with pytest.raises(UsageError, match="no conversion has a latency that counts"):
        ran("--fail-above", "5")
    store("base", steady("COMPILE_TVM", 20.0), steady("OPENVINO", 20.0))
    with pytest.raises(UsageError, match="no conversion of the same model and batch size in common"):
        ran("--fail-above", "5")


@pytest.mark.slow
def test_jobs_in_a_store_with_the_samples_that_they_kept() -> None:
    for name, latency_ms in (("base", 10.0), ("head", 12.0)):
        stored(name, steady("ONNX_CPU", latency_ms))
    done = ran("--fail-above", "5", "--metric", "latency/floor", "--metric", "latency/mean", "--metric", "throughput")
    assert done.return_value == 3
    assert "Gate failed: 3 failed\n" in done.output
