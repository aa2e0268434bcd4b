"""The gate of a change: noise never fails it, and a true slowdown does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.example_jobs import in_rounds, job, ok

from almaflow.analysis import outcome_metrics
from almaflow.analysis.compare import Side, compare
from almaflow.analysis.gate import UNKNOWN, Judged, gate
from almaflow.records import MachineState
from almaflow.report.gate import gate_lines
from almaflow.stats import interval_over_rounds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from almaflow.records import Outcome

FACTS = {"params.model": "resnet18", "params.batch_size": "1"}
EVERY = ("latency_ms", "latency/floor", "latency/mean", "throughput")


def side(outcome: Outcome, label: str) -> Side:
    name = outcome.planned.name
    return Side(label, name, outcome_metrics(job(outcome), outcome), FACTS | {"params.conversion": name}, label)


def judged(before: Outcome, after: Outcome, limit: float = 5.0, metrics: Sequence[str] = EVERY) -> list[Judged]:
    base, head = side(before, "base"), side(after, "head")
    measured = {"base": before, "head": after}
    limits = dict.fromkeys(metrics, limit)
    return gate([base], [compare(base, head)], limits, lambda each: measured[each.run_id])


def verdicts(found: Sequence[Judged]) -> set[str]:
    return {each.verdict for each in found}


medians = st.lists(st.floats(5.0, 15.0), min_size=6, max_size=12)


@settings(max_examples=10)
@given(medians, st.randoms(use_true_random=False))
def test_two_jobs_of_the_same_rounds_never_fail_it(rounds: list[float], random: object) -> None:
    """In whatever order these were taken, and with the strictest limit."""
    shuffled = list(rounds)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    found = judged(in_rounds(ok("ONNX_CPU"), rounds), in_rounds(ok("ONNX_CPU"), shuffled), limit=0.0)
    assert "failed" not in verdicts(found)


@pytest.mark.parametrize("seed", range(3))
def test_two_jobs_dealt_from_one_disturbed_run_do_not_fail_it(seed: int) -> None:
    """Half the rounds were slowed by a half: medians of either job may lie far from the other's."""
    draw = np.random.default_rng(seed)
    rounds = (10 * np.where(draw.random(40) < 0.5, 1.5, 1.0) * draw.normal(1, 0.01, 40)).tolist()
    found = judged(in_rounds(ok("ONNX_CPU"), rounds[::2]), in_rounds(ok("ONNX_CPU"), rounds[1::2]))
    assert "failed" not in verdicts(found)


@settings(max_examples=5)
@given(st.floats(1.2, 10.0), st.integers(0, 99))
def test_a_slowdown_well_beyond_the_intervals_always_fails_it(factor: float, seed: int) -> None:
    draw = np.random.default_rng(seed)
    before, after = (10 * scale * draw.normal(1, 0.01, 9) for scale in (1.0, factor))
    sides = in_rounds(ok("ONNX_CPU"), before.tolist()), in_rounds(ok("ONNX_CPU"), after.tolist())
    found = judged(*sides, metrics=["latency_ms", "latency/floor"])
    assert verdicts(found) == {"failed"}
    assert all(each.worse and each.worse > 5 for each in found)
    assert verdicts(judged(sides[1], sides[0])) == {"passed"}


def test_processes_that_differ_widen_the_interval() -> None:
    before = in_rounds(ok("ONNX_CPU"), [10.0] * 8, [12.0] * 8)
    after = in_rounds(ok("ONNX_CPU"), [11.5] * 8, [13.0] * 8)
    assert verdicts(judged(before, after, metrics=["latency/floor", "latency_ms"])) == {"within noise"}


def test_a_machine_that_was_busy_after_the_change_is_no_verdict_and_one_that_was_before_it_is() -> None:
    quiet, slow = in_rounds(ok("A"), [10.0] * 9), in_rounds(ok("A"), [20.0] * 9)
    for load in (MachineState(others_cpus=1.2), MachineState(steal_cpus=0.5)):
        busy = in_rounds(ok("A"), [20.0] * 9, states=[load] * 9)
        found = judged(quiet, busy, metrics=["latency_ms", "latency/floor"])
        assert verdicts(found) == {"not judged"}
        assert "CPUs meanwhile: measure again" in found[0].why
        still = in_rounds(ok("A"), [10.0] * 9, states=[load] * 9)
        assert verdicts(judged(still, slow, metrics=["latency/floor"])) == {"failed"}
    light = in_rounds(ok("A"), [20.0] * 9, states=[MachineState(others_cpus=0.05, steal_cpus=0.0)] * 9)
    assert verdicts(judged(quiet, light, metrics=["latency/floor"])) == {"failed"}


def test_too_few_rounds_are_no_verdict() -> None:
    (found,) = judged(in_rounds(ok("A"), [10.0] * 5), in_rounds(ok("A"), [20.0] * 9), metrics=["latency/floor"])
    assert found.verdict == "not judged"
    assert found.worse == pytest.approx(100, abs=1)


def sides(before: Mapping[str, float], after: Mapping[str, float], **facts: str) -> tuple[Side, Side]:
    one = Side("base", "A", {"latency_ms": 1.0, **before}, FACTS)
    return one, replace(one, label="head", metrics={"latency_ms": 1.0, **after}, facts=FACTS | facts)


def test_a_setting_of_the_evaluation_tells_which_way_is_worse() -> None:
    for listed, verdict in (("()", "passed"), ("('width', 'depth')", "failed")):
        one, other = sides({"quality/depth": 2.0}, {"quality/depth": 3.0})
        before, after = (
            replace(each, facts={**each.facts, "params.evaluate.lower_is_better": listed}) for each in (one, other)
        )
        (found,) = gate([before], [compare(before, after)], {"quality/depth": 5.0}, lambda _: None)
        assert found.verdict == verdict


@pytest.mark.parametrize(
    ("metric", "before", "after", "worse", "verdict"),
    [
        ("memory/model_mb", 100.0, 104.0, 4.0, "passed"),
        ("memory/model_mb", 100.0, 110.0, 10.0, "failed"),
        ("memory/model_mb", 0.0, 1.0, float("inf"), "failed"),
        ("quality/top1", 0.80, 0.70, 10.0, "failed"),
        ("quality/top1", 0.70, 0.80, -10.0, "passed"),
        ("quality/mse", 0.70, 0.80, 14.3, "failed"),
        ("fidelity/sqnr_db", 110.0, 104.0, 6.0, "failed"),
        ("fidelity/top1_agreement", 1.0, 0.96, 4.0, "passed"),
        ("compiled/outside_share", 0.0, 0.5, 50.0, "failed"),
    ],
)
def test_which_way_is_worse_and_in_what(metric: str, before: float, after: float, worse: float, verdict: str) -> None:
    one, other = sides({metric: before}, {metric: after})
    (found,) = gate([one], [compare(one, other)], {metric: 5.0}, lambda _: None)
    assert found.verdict == verdict
    assert found.worse == pytest.approx(worse, abs=0.1)


def test_a_metric_that_one_side_lacks() -> None:
    limits = {"quality/top1": 1.0}
    for before, after, verdict in (({}, {"quality/top1": 0.7}, "not judged"), ({"quality/top1": 0.7}, {}, "failed")):
        one, other = sides(before, after)
        assert verdicts(gate([one], [compare(one, other)], limits, lambda _: None)) == {verdict}
    equal = {"fidelity/max_abs_diff": 0.0}
    one, other = sides({"fidelity/sqnr_db": 110.0}, equal)
    assert verdicts(gate([one], [compare(one, other)], {"fidelity/sqnr_db": 1.0}, lambda _: None)) == {"passed"}
    assert verdicts(gate([other], [compare(other, one)], {"fidelity/sqnr_db": 1.0}, lambda _: None)) == {"failed"}


def test_a_conversion_that_fails_or_is_gone_fails_it_and_one_that_failed_before_does_not() -> None:
    one, other = sides({}, {})
    broken = replace(other, metrics={}, facts=FACTS | {"tags.almaflow.failure": "crashed"})
    (found,) = gate([one], [compare(one, broken)], {"latency_ms": 5.0}, lambda _: None)
    assert (found.verdict, found.why) == ("failed", "no latency that counts any more: crashed")
    (found,) = gate([one], [], {"latency_ms": 5.0}, lambda _: None)
    assert (found.verdict, found.why) == ("failed", "not there any more")
    assert gate([broken], [compare(broken, other)], {"latency_ms": 5.0}, lambda _: None) == []


def test_the_interval_holds_the_figure_and_is_the_same_each_time() -> None:
    draw = np.random.default_rng(3)
    rounds = [list(10 + draw.exponential(1, 20)) for _ in range(12)]
    low = interval_over_rounds([rounds], lambda samples: float(np.quantile(samples, 0.05)))
    again = interval_over_rounds([rounds], lambda samples: float(np.quantile(samples, 0.05)))
    assert low
    assert low == again
    assert np.quantile(np.concatenate(rounds), 0.05) in low
    assert interval_over_rounds([rounds, rounds[:5]], np.mean) is None
    assert interval_over_rounds([], np.mean) is None


def test_a_share_of_right_answers_changes_by_points_and_what_is_unknown_has_no_figures() -> None:
    sides = (side(ok("ONNX_CPU"), label) for label in ("base", "head"))
    base, head = (
        replace(each, metrics={**each.metrics, "quality/top1": top1})
        for each, top1 in zip(sides, (0.8966, 0.8816), strict=True)
    )
    (found,) = gate([base], [compare(base, head)], {"quality/top1": 1.0}, lambda _: None)
    assert found.worse == pytest.approx(1.5)
    unknown = replace(found, before=None, after=None, verdict=UNKNOWN, why="head has no quality/top1")
    assert gate_lines([unknown])[1] == "not judged: resnet18 b1 ONNX_CPU quality/top1: head has no quality/top1"
