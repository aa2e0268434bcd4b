from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.made_profiles import figure, results, workload

from almaflow.errors import UsageError
from almaflow.profiles.analysis import analysed
from almaflow.profiles.latencies import Deployment, latencies
from almaflow.profiles.report import ProfileReport
from almaflow.profiles.sizes import grid
from almaflow.profiles.totals import Latency, total, total_of_others
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


def test_a_segment_that_another_conversion_has_measured_is_lacking_in_this_one() -> None:
    made = workload("ab", "ab", "ab", python_ms=1.0, eager_ms={"b": 5.0})
    measured = [figure("a", "EAGER", 10.0), figure("b", "EAGER", 6.0), figure("a", "A", 4.0), figure("b", "A", 5.5)]
    data = analysed(made, results(*measured, figure("a", "B", 3.0)))
    totals = {each["conversion"]: each for each in data["functions"][0]["totals"]}
    assert {name: each["ms"] for name, each in totals.items()} == {"best": 9.5, "EAGER": 17.0, "A": 10.5, "B": None}
    assert totals["B"]["why"] == "not measured yet; 16.7% of the graphs' time is"
    assert totals["B"]["failures"] == 0
    assert [totals[name]["covered_pct"] for name in ("best", "A", "B")] == pytest.approx([100, 100, 100 / 6])


def test_what_no_conversion_has_measured_keeps_the_interval_of_its_recorded_time() -> None:
    made = workload("ab", "ab", "ab", eager_ms={"b": 5.0})
    wide = replace(made.pieces["b"], eager_low_ms=4.0, eager_high_ms=7.0)
    made = replace(made, pieces=made.pieces | {"b": wide})
    exact = replace(figure("a", "EAGER", 1.0), low_ms=1.0, high_ms=1.0)
    data = analysed(made, results(exact))
    assert [data["functions"][0]["totals"][0][end] for end in ("low_ms", "ms", "high_ms")] == pytest.approx(
        [10, 11, 13]
    )
    unknown = analysed(workload("ab", "ab", "ab"), results(exact))
    assert unknown["functions"][0]["totals"][0]["low_ms"] is None


def test_the_sum_of_the_parts_is_over_the_calls_that_the_whole_is_of() -> None:
    calls = (CallCut(("a",) * 9, None), CallCut(("a",), 5.0, 1.0), CallCut(("a",), 5.0, 1.0))
    made = workload("a")
    made = replace(made, functions=(replace(made.functions[0], calls=calls, discarded={"compiled": 1}),))
    function = analysed(made, results(figure("a", "EAGER", 1.0)))["functions"][0]
    assert (function["eager_ms"], function["parts_ms"], function["closure_pct"]) == pytest.approx((6.0, 6.0, 0.0))


def test_where_no_call_tells_python_the_graphs_are_known_and_why_there_is_no_total() -> None:
    made = workload("aa", "aa", python_ms=None)
    made = replace(made, functions=(replace(made.functions[0], discarded={"concurrent": 2, "raised": 1}),))
    data = analysed(made, results(figure("a", "EAGER", 4.0), figure("a", "A", 1.0)))
    best, fast, slow = data["functions"][0]["totals"]
    assert [each["conversion"] for each in (best, fast, slow)] == ["best", "A", "EAGER"]
    assert (fast["ms"], fast["backend_ms"], slow["backend_ms"]) == (None, 2.0, 8.0)
    why = "no call tells Python's time: all 2 were concurrent; call each input twice, or from one thread"
    assert best["why"] == fast["why"] == why
    with pytest.raises(UsageError, match="predict: no call tells Python's time"):
        ProfileReport(data).best()


def test_what_writes_to_its_inputs_is_marked_and_best_in_eager_alone() -> None:
    made = workload("ab", "ab", "ab")
    made = replace(made, pieces=made.pieces | {"a": replace(made.pieces["a"], writes=True)})
    measured = [figure("a", "EAGER", 4.0), figure("b", "EAGER", 4.0), figure("a", "A", 1.0), figure("b", "A", 1.0)]
    function = analysed(made, results(*measured))["functions"][0]
    totals = {each["conversion"]: each for each in function["totals"]}
    assert {name: (each["ms"], each["unchecked"]) for name, each in totals.items()} == {
        "best": (10.0, 0),
        "A": (7.0, 1),
        "EAGER": (13.0, 0),
    }
    cells = {part["segment_id"]: [cell["unchecked"] for cell in part["cells"]] for part in function["segments"]}
    assert cells == {"a": [False, True], "b": [False, False]}


def test_a_size_of_the_grid_that_failed_leaves_the_report() -> None:
    sizes = {f"a{number}": float(number) for number in range(1, 10)}
    made = workload(list(sizes), sizes=sizes)
    chosen = grid(list(made.pieces.values()))
    assert chosen.check is not None
    names = [each.segment_id for each in chosen.pieces]
    figures = [figure(name, "EAGER", sizes[name]) for name in names]
    figures += [figure(name, "A", sizes[name] if name != names[2] else None) for name in names]
    data = analysed(made, results(*figures))
    assert [each["conversion"] for each in data["size_checks"]] == ["EAGER"]
    totals = {each["conversion"]: each for each in data["functions"][0]["totals"]}
    assert (totals["A"]["ms"], totals["EAGER"]["ms"]) == (None, pytest.approx(5.0 + sum(sizes.values()), rel=0.01))


def test_a_size_is_not_taken_as_recorded_where_the_end_of_its_family_failed() -> None:
    sizes = {f"a{number}": float(number) for number in range(1, 10)}
    made = workload(list(sizes), sizes=sizes)
    eager = [figure(name, "EAGER", 2.0) for name in ("a1", "a3", "a9")]
    both = [*eager, figure("a1", "A", 1.0), figure("a3", "A", 1.0)]
    broken = latencies(made, results(*both, figure("a9", "A", None)), Deployment("here", "A"))
    assert broken.failed["a6"] == "another size of it: it raised"
    lacking = latencies(made, results(*both), Deployment("here", "A"))
    assert (lacking.failed["a9"], lacking.failed["a6"]) == ("not measured yet", "not measured yet")
    assert lacking.of["a2"].interpolated


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


def test_one_call_that_was_held_up_moves_neither_the_whole_nor_the_closure() -> None:
    calls = (*(CallCut(("a",), 5.0, 2.0) for _ in range(6)), CallCut(("a",), 5.0, 200.0), CallCut(("a",), 90.0, 2.0))
    made = workload("a")
    made = replace(made, functions=(replace(made.functions[0], calls=calls),))
    function = analysed(made, results(figure("a", "EAGER", 2.0)))["functions"][0]
    assert (function["eager_ms"], function["parts_ms"], function["closure_pct"]) == pytest.approx((7.0, 7.0, 0.0))


def test_python_of_other_calls_is_the_median_of_those_with_the_same_graphs() -> None:
    known = [cut("a", 4.0), cut("a", 5.0), cut("a", 90.0), cut("b", 7.0)]
    found = total_of_others(known, [cut("a", None), cut("b", None), cut("c", None)], dict.fromkeys("abc", ONE))
    assert found is not None
    assert found.python_ms == pytest.approx((5.0 + 7.0 + 6.0) / 3)


def test_other_threads_than_the_applications_are_told() -> None:
    made = replace(workload("a", "a"), threads=2)
    measured = results(figure("a", "EAGER", 1.0))
    (line,) = analysed(made, replace(measured, threads={"here": 1}))["notes"]
    assert line.startswith("the application ran with 2 threads, its segments were measured with 1 on here")
    for threads in ({"here": 2}, {}):
        assert analysed(made, replace(measured, threads=threads))["notes"] == []
    assert analysed(replace(made, threads=None), replace(measured, threads={"here": 1}))["notes"] == []
