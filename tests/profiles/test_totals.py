from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.made_profiles import figure, results, workload

from almaflow.profiles.analysis import analysed
from almaflow.profiles.latencies import Deployment, latencies
from almaflow.profiles.totals import Latency, total
from almaflow.profiles.workload import CallCut, FunctionCalls, Piece, Workload

ONE = Latency(2.0, 1.9, 2.2)
TIMES = st.floats(0.01, 1e4)


def cut(segments: str, python_ms: float | None = 10.0) -> CallCut:
    return CallCut(tuple(segments), python_ms)


def test_a_total_is_the_mean_over_the_calls_as_they_came() -> None:
    found = total([cut("ab"), cut("a"), cut("abb"), cut("")], {"a": Latency(2.0), "b": Latency(4.0)}, 0.36)
    assert found is not None
    assert (found.backend_ms, found.python_ms, found.ms) == pytest.approx((4.5, 10.0, 14.5))
    assert found.cost_per_million_usd == pytest.approx(0.36 * 14.5 / 3.6)
    assert (found.low_ms, found.p95_ms) == (None, None)


def test_the_interval_adds_the_squares_of_what_its_parts_contribute() -> None:
    found = total([cut("aa"), cut("aa"), cut("aa")], {"a": ONE})  # Python has no spread
    assert found is not None
    assert (found.low_ms, found.high_ms) == pytest.approx((14.0 - 0.2, 14.0 + 0.4))


def test_python_of_a_discarded_call_is_that_of_calls_with_the_same_graphs() -> None:
    found = total([cut("a", None), cut("a", 4.0), cut("b", 10.0)], {"a": ONE, "b": ONE})
    assert found is not None
    assert found.python_ms == pytest.approx(6.0)


def test_where_every_call_compiled_nothing_is_known_of_python() -> None:
    assert total([cut("a", None)], {"a": ONE}) is None


def test_percentiles_are_over_the_calls() -> None:
    found = total([cut("a")] * 18 + [cut("aaaaaa")] * 2, {"a": ONE})
    assert found is not None
    assert (found.p50_ms, found.p95_ms) == pytest.approx((12.0, 22.0))


@given(st.lists(st.tuples(st.lists(st.sampled_from("abc"), max_size=5), TIMES), min_size=1, max_size=12), TIMES, TIMES)
def test_a_total_lies_within_its_calls_and_its_interval(
    calls: list[tuple[list[str], float]], ms: float, other: float
) -> None:
    cuts = [CallCut(tuple(segments), python) for segments, python in calls]
    known = {"a": Latency(ms, 0.9 * ms, 1.1 * ms), "b": Latency(other, other, other), "c": Latency(1.0, 1.0, 1.0)}
    found = total(cuts, known)
    assert found is not None
    each = [sum(known[name].ms for name in call.segments) + (call.python_ms or 0) for call in cuts]
    assert min(each) * 0.999999 <= found.ms <= max(each) * 1.000001
    assert found.low_ms is None or found.high_ms is None or found.low_ms <= found.ms <= found.high_ms
    faster = total(cuts, known | {"a": Latency(ms / 2)})
    assert faster is not None
    assert faster.ms <= found.ms


def test_a_conversion_that_fails_on_one_segment_has_no_total_and_cannot_win() -> None:
    made = workload("ab", "ab", "ab")
    measured = [figure("a", "EAGER", 4.0), figure("b", "EAGER", 4.0), figure("a", "ONNX_CPU", 1.0)]
    data = analysed(made, results(*measured, figure("b", "ONNX_CPU", None)))
    totals = {each["conversion"]: each for each in data["functions"][0]["totals"]}
    assert (totals["EAGER"]["ms"], totals["best"]["ms"]) == pytest.approx((13.0, 10.0))
    assert (totals["ONNX_CPU"]["ms"], totals["ONNX_CPU"]["failures"]) == (None, 1)
    assert totals["ONNX_CPU"]["why"] == "it raised"
    assert [each["conversion"] for each in data["functions"][0]["totals"]] == ["best", "EAGER", "ONNX_CPU"]
    cells = {part["segment_id"]: part["cells"] for part in data["functions"][0]["segments"]}
    assert [cell["ms"] for cell in cells["a"]] == [4.0, 1.0]  # the other cells stand
    assert [part["best"] for part in data["functions"][0]["segments"]] == ["EAGER", "ONNX_CPU"]


def test_the_sum_of_the_parts_is_held_against_the_whole() -> None:
    made = workload("ab", "ab", "ab")  # 2 ms of graphs and 5 of Python, as they were recorded
    data = analysed(made, results(figure("a", "EAGER", 1.35), figure("b", "EAGER", 1.0)))
    function = data["functions"][0]
    assert (function["eager_ms"], function["parts_ms"]) == pytest.approx((7.0, 7.35))
    assert function["closure_pct"] == pytest.approx(5.0)


def test_what_was_not_measured_counts_as_it_was_recorded_and_lowers_the_share_that_is_covered() -> None:
    made = workload("ab", "ab", "ab")
    data = analysed(made, results(figure("a", "ONNX_CPU", 0.5), figure("a", "EAGER", 1.0)))
    assert data["covered_pct"] == pytest.approx(50.0)
    totals = {each["conversion"]: each["ms"] for each in data["functions"][0]["totals"]}
    assert totals == pytest.approx({"best": 6.5, "ONNX_CPU": 6.5, "EAGER": 7.0})


def test_costs_are_those_of_the_machine() -> None:
    data = analysed(workload("a", "a", "a"), results(figure("a", "EAGER", 1.0), price=3.6))
    assert data["functions"][0]["totals"][0]["cost_per_million_usd"] == pytest.approx(6.0)


def test_a_size_between_measured_ones_is_interpolated() -> None:
    sizes = {f"a{number}": float(number) for number in range(1, 10)}
    made = workload(list(sizes), sizes=sizes)
    measured = [figure(name, "EAGER", 2 * sizes[name]) for name in ("a1", "a3", "a9")]
    found = latencies(made, results(*measured), Deployment("here", "EAGER"))
    assert found.of["a6"].ms == pytest.approx(12.0)
    assert found.of["a6"].interpolated
    assert not found.of["a9"].interpolated


def test_sizes_of_a_family_that_failed_are_not_guessed() -> None:
    sizes = {f"a{number}": float(number) for number in range(1, 4)}
    made = workload(list(sizes), sizes=sizes)
    found = latencies(
        made,
        results(figure("a1", "X", 1.0), figure("a3", "X", 3.0), figure("a2", "X", None)),
        Deployment("here", "X"),
    )
    assert {*found.failed} == {"a2"}
    assert {*found.of} == {"a1", "a3"}


def test_a_function_without_graphs_is_python_alone() -> None:
    function = FunctionCalls("plain", tuple(CallCut((), 3.0, 0.0) for _ in range(3)))
    data = analysed(Workload("made", {}, (function,)), results())
    assert (data["covered_pct"], data["functions"][0]["eager_ms"]) == (None, 3.0)
    assert data["functions"][0]["totals"] == []


def test_pieces_weigh_by_calls_and_time() -> None:
    assert Piece("a", "a", 3, 2.0).weight_ms == 6.0
