from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.example_jobs import failed, in_rounds, job, measured, ok, planned, unavailable

from almaflow.analysis import Analysis, analyse
from almaflow.records import FailureKind, Outcome, Status

INDUCTOR = "COMPILE_INDUCTOR_DEFAULT"


def for_use(analysis: Analysis, use: str) -> str | None:
    return next((made.conversion for made in analysis.recommendations if made.use == use), None)


def reason(analysis: Analysis, use: str) -> str:
    return next(made.reason for made in analysis.recommendations if made.use == use)


def test_rows_come_by_latency_and_the_others_in_plan_order() -> None:
    outcomes = [unavailable("A"), ok("B", 5.0), failed("C", samples_ms=1.0), ok("D", 2.0), failed("E")]
    assert [row.name for row in analyse(job(*outcomes)).rows] == ["D", "B", "A", "C", "E"]


def test_the_best_and_the_headroom() -> None:
    found = analyse(job(ok("EAGER", 20.0), ok(INDUCTOR, 10.0), ok("COMPILE_OPENVINO", 4.0)))
    assert found.best_conversion == "COMPILE_OPENVINO"
    assert found.best_latency_ms == pytest.approx(4.0)
    assert found.best_speedup_vs_eager == pytest.approx(5.0)
    assert found.best_speedup_vs_inductor == found.headroom == pytest.approx(2.5)
    assert found.tied_with_best == ()


def test_inductor_as_the_best_leaves_no_headroom() -> None:
    assert analyse(job(ok("EAGER", 20.0), ok(INDUCTOR, 10.0))).headroom == 1.0


def test_without_inductor_the_headroom_is_not_known() -> None:
    found = analyse(job(ok("EAGER", 20.0), failed(INDUCTOR), ok("ONNX_CPU", 4.0)))
    assert found.headroom is None
    assert found.best_speedup_vs_inductor is None


def test_two_within_each_others_quartiles_are_not_told_apart() -> None:
    found = analyse(job(ok("A", [9.0, 10.0, 11.0]), ok("B", [9.2, 10.2, 11.2]), ok("C", [19.0, 20.0, 21.0])))
    assert found.best_conversion == "A"
    assert found.tied_with_best == ("B",)


SHAKEN = [1.0, 1.3, 0.9, 1.2, 1.1, 1.4, 1.0, 1.25, 1.15]
"""How fast the machine was in each of nine rounds: the quartiles of what is timed on it are 20% apart."""


def test_two_that_share_a_shaken_machine_are_told_apart_by_their_neighbouring_rounds() -> None:
    """Each median lies within the other's quartiles, yet one is 4% faster in every single round."""
    faster = in_rounds(ok("A"), [10.0 * factor for factor in SHAKEN])
    slower = in_rounds(ok("B"), [10.4 * factor for factor in SHAKEN])
    assert analyse(job(faster, slower)).tied_with_best == ()
    apart = in_rounds(ok("B"), [10.4 * factor for factor in SHAKEN], first=20)
    assert analyse(job(faster, apart)).tied_with_best == ("B",)


def test_two_whose_ratio_may_be_1_are_not_told_apart_though_their_medians_are() -> None:
    """Calls within 1% of each other, medians 3% apart, and as many rounds in which either one is the faster."""
    one = in_rounds(ok("A"), [10.0] * 9)
    other = in_rounds(ok("B"), [9.7, 9.8, 9.7, 9.8, 10.3, 10.3, 10.3, 10.3, 10.3])
    found = analyse(job(one, other))
    assert found.best_conversion == "A"
    assert found.tied_with_best == ("B",)
    assert analyse(job(in_rounds(ok("A"), [10.0] * 9), ok("B", 10.3))).tied_with_best == ()


def test_the_interval_of_the_ratio_has_to_leave_1_out() -> None:
    one = in_rounds(ok("A"), [10.0] * 9)
    for second, tied in ((10.0, ("B",)), (10.1, ())):
        other = in_rounds(ok("B"), [10.5, 9.0, 10.5, second, *[10.5] * 5])  # it begins at the second lowest
        assert analyse(job(one, other)).tied_with_best == tied


@pytest.mark.parametrize(("rounds", "tied"), [(5, ("B",)), (6, ())])
def test_with_too_few_rounds_in_common_the_quartiles_decide(rounds: int, tied: tuple[str, ...]) -> None:
    faster = in_rounds(ok("A"), [10.0 * factor for factor in SHAKEN[:rounds]])
    slower = in_rounds(ok("B"), [10.4 * factor for factor in SHAKEN])
    assert analyse(job(faster, slower)).tied_with_best == tied


def test_processes_that_disagree_about_two_leave_them_tied() -> None:
    """In the first process one is faster in every round, in the second the other."""
    one = in_rounds(ok("A"), [10.0] * 30, [10.0] * 9)
    other = in_rounds(ok("B"), [10.4] * 30, [9.6] * 9)
    assert analyse(job(one, other)).tied_with_best == ("B",)


def test_inductor_that_is_tied_with_eager_by_its_rounds_is_not_recommended_for_a_quick_deploy() -> None:
    eager = in_rounds(ok("EAGER"), [10.0] * 9)
    inductor = in_rounds(ok(INDUCTOR), [10.3, 10.3, 9.7, 9.7, 9.7, 9.7, 9.7, 10.3, 10.3])
    found = analyse(job(eager, inductor))
    assert found.best_conversion == INDUCTOR
    assert for_use(found, "quick deploy") == "EAGER"
    assert "tied with" in reason(found, "quick deploy")


def test_two_whose_ratio_is_not_known_are_not_called_tied() -> None:
    """On a busy machine one took between a third and three times as long as the other."""
    busy = [25.0, 70.0, 25.0, 70.0, 25.0, 70.0, 25.0, 70.0, 25.0]
    found = analyse(job(in_rounds(ok("ONNX_CPU"), busy), in_rounds(ok(INDUCTOR), [75.0, 24.0] * 4 + [75.0])))
    assert (found.best_conversion, found.tied_with_best) == ("ONNX_CPU", ())
    assert found.unclear_beside_best == (INDUCTOR,)
    assert found.headroom is None


def test_eager_is_recommended_and_not_called_tied_where_its_ratio_to_compiling_is_not_known() -> None:
    eager = in_rounds(ok("EAGER"), [75.0, 24.0] * 4 + [75.0])
    inductor = in_rounds(ok(INDUCTOR), [25.0, 70.0, 25.0, 70.0, 25.0, 70.0, 25.0, 70.0, 25.0])
    slow, quick = (
        analyse(job(eager, inductor)),
        analyse(job(replace(eager, planned=inductor.planned), in_rounds(ok("EAGER"), [25.0, 70.0] * 4 + [25.0]))),
    )
    assert for_use(slow, "quick deploy") == for_use(quick, "quick deploy") == "EAGER"
    assert reason(slow, "quick deploy").startswith(f"nothing to change; whether {INDUCTOR} is faster is not known")
    assert reason(quick, "quick deploy").startswith("nothing to change; whether torch.compile is faster is not known")


def test_a_job_where_nothing_counts_has_no_verdict() -> None:
    found = analyse(job(failed("EAGER", samples_ms=1.0), unavailable("ONNX_GPU")))
    assert (found.best_conversion, found.best_latency_ms, found.headroom) == (None, None, None)
    assert found.recommendations == ()


outcomes = st.lists(
    st.one_of(
        st.builds(ok, st.sampled_from(["EAGER", INDUCTOR, "ONNX_CPU", "COMPILE_OPENVINO"]), st.floats(0.01, 1e4)),
        st.builds(
            failed, st.just("ONNX+DYNAMO_EXPORT"), st.sampled_from(FailureKind), samples_ms=st.floats(1e-5, 1e-3)
        ),
        st.builds(unavailable, st.just("ONNX_GPU")),
    ),
    max_size=8,
)


@given(outcomes)
def test_the_fastest_that_counts_wins_and_nothing_else_is_recommended(made: list[Outcome]) -> None:
    found = analyse(job(*made))
    medians = [row.metrics["latency_ms"] for row in found.rows if row.counts]
    assert found.best_latency_ms == (min(medians) if medians else None)
    assert len(found.rows) == len(made)
    winners = {row.name for row in found.rows if row.counts}
    assert {item.conversion for item in found.recommendations} <= winners
    assert "latency_ms" not in {key for row in found.rows if not row.counts for key in row.metrics}


def test_one_that_ran_on_another_device_than_planned_cannot_win() -> None:
    elsewhere = replace(ok("ONNX_GPU", 0.1), planned=planned("ONNX_GPU", device="cuda"))
    found = analyse(job(ok("EAGER", 20.0), elsewhere))
    assert found.best_conversion == "EAGER"
    assert found.rows[1].message == "ran on cpu, planned was cuda"


def test_recommendations_per_use_on_a_cpu() -> None:
    found = analyse(
        job(
            ok("EAGER", 20.0),
            ok(INDUCTOR, 10.0),
            ok("ONNX_CPU", 8.0),
            ok("COMPILE_OPENVINO", 4.0),
            ok("NATIVE_CONVERT_AI8WI8_STATIC_QUANTIZED", 30.0, dtype="int8", memory_mb=900.0),
        )
    )
    assert {made.use: made.conversion for made in found.recommendations} == {
        "cross-platform": "ONNX_CPU",
        "edge devices": "NATIVE_CONVERT_AI8WI8_STATIC_QUANTIZED",
        "Intel hardware": "COMPILE_OPENVINO",
        "quick deploy": INDUCTOR,
    }
    edge = reason(found, "edge devices")
    assert "slower than eager (0.67x)" in edge
    assert "uses more memory than eager (900 MB vs. 700 MB)" in edge


def test_gpu_production_is_for_what_ran_on_the_gpu() -> None:
    overridden = replace(ok("ONNX_CPU", 1.0), planned=replace(planned("ONNX_CPU"), device_override=True))
    found = analyse(job(ok("EAGER", 20.0, device="cuda"), ok("COMPILE_TENSORRT", 5.0, device="cuda"), overridden))
    assert for_use(found, "GPU production") == "COMPILE_TENSORRT"


def test_torch_compile_through_onnx_runtime_is_not_portable() -> None:
    assert for_use(analyse(job(ok("COMPILE_ONNXRT", 1.0))), "cross-platform") is None


def test_without_a_quantised_one_the_edge_gets_the_least_memory() -> None:
    found = analyse(job(ok("EAGER", 20.0, memory_mb=600.0), ok("ONNX_CPU", 8.0, memory_mb=500.0)))
    assert for_use(found, "edge devices") == "ONNX_CPU"
    assert "500 MB; no quantised conversion" in reason(found, "edge devices")


def test_emulated_quantisation_is_nothing_for_the_edge() -> None:
    fake = ok("NATIVE_FAKE_QUANTIZED_AI8WI8_STATIC", 1.0, dtype="int8", memory_mb=900.0)
    assert for_use(analyse(job(ok("EAGER", 20.0), fake)), "edge devices") == "EAGER"


def test_a_narrower_type_is_named_with_what_it_costs() -> None:
    found = analyse(job(ok("EAGER", 20.0), ok("ONNX_CPU_INT8_STATIC", 2.0, dtype="int8")))
    assert reason(found, "cross-platform").endswith("int8, SQNR 110.0 dB against eager")


def test_openvino_measured_on_another_make_says_so() -> None:
    found = analyse(job(ok("EAGER", 20.0), ok("COMPILE_OPENVINO", 4.0), cpu="AMD EPYC"))
    assert reason(found, "Intel hardware").endswith("measured on AMD EPYC, which is not Intel's")


@pytest.mark.parametrize(
    ("inductor_ms", "expected", "why"),
    [
        ([29.0, 30.0, 31.0], "EAGER", "torch.compile is not faster"),
        ([18.0, 19.9, 21.0], "EAGER", "tied with"),
        ([9.0, 10.0, 11.0], INDUCTOR, "2.0 s before the first answer"),
    ],
)
def test_quick_deploy_is_eager_unless_compiling_pays(inductor_ms: list[float], expected: str, why: str) -> None:
    found = analyse(job(ok("EAGER", [19.0, 20.0, 21.0]), ok(INDUCTOR, inductor_ms)))
    assert for_use(found, "quick deploy") == expected
    assert why in reason(found, "quick deploy")


def test_quick_deploy_says_how_weights_are_frozen() -> None:
    found = analyse(job(ok("EAGER", 20.0), ok("COMPILE_INDUCTOR_FREEZING", 10.0)))
    assert "torch._inductor.config.freezing = True, then torch.compile" in reason(found, "quick deploy")


def test_a_failed_job_tells_why_for_each_row() -> None:
    late = replace(failed("D"), failure=None, interrupted=True)
    empty = replace(ok("E"), measurement=measured([]))
    rows = analyse(job(ok("A"), failed("B", message="boom"), unavailable("C", "needs CUDA"), late, empty)).rows
    cut_short = "ended before it was timed"
    assert [row.message for row in rows] == [None, "boom", "needs CUDA", cut_short, "no sample was measured"]


@pytest.mark.parametrize(("medians", "words"), [((20.0,), "after 1 round,"), ((20.0, 21.0), "after 2 rounds,")])
def test_what_was_cut_short_says_so_and_is_not_recommended(medians: tuple[float, ...], words: str) -> None:
    """It was the fastest so far."""
    late = replace(in_rounds(ok("ONNX_CPU"), [each / 10 for each in medians]), status=Status.FAILED, interrupted=True)
    made = analyse(job(ok("EAGER"), late))
    (row,) = (row for row in made.rows if row.name == "ONNX_CPU")
    assert words in (row.message or "")
    assert "latency_ms" not in row.metrics
    assert row.metrics["latency/rounds"] == len(medians)  # kept, to be looked at
    assert made.best_conversion == "EAGER"
    assert made.recommendations == ()
    both = analyse(job(ok("EAGER"), late, ok("COMPILE_OPENVINO", 30.0)))
    assert "ONNX_CPU" not in {each.conversion for each in both.recommendations}


def test_with_one_to_choose_from_nothing_is_recommended() -> None:
    assert analyse(job(ok("EAGER"), failed(INDUCTOR))).recommendations == ()
    assert analyse(job(ok("EAGER"), ok(INDUCTOR))).recommendations != ()


def test_inductor_that_is_tied_with_the_best_leaves_no_headroom() -> None:
    inductor = in_rounds(ok(INDUCTOR), [10.3, 10.3, 9.7, 9.7, 9.7, 9.7, 9.7, 10.3, 10.3])
    found = analyse(job(in_rounds(ok("EAGER"), [9.6, 9.9, 9.6, 9.9, 9.9, 9.6, 10.2, 9.8, 9.9]), inductor))
    assert INDUCTOR in found.tied_with_best or found.best_conversion == INDUCTOR
    assert found.headroom == 1.0


def test_one_with_the_lower_median_is_not_called_faster_than_one_that_its_rounds_lose_to() -> None:
    """The other had slow rounds when nobody was beside it; wherever both were measured, it was faster."""
    one = in_rounds(ok("A"), [10.0] * 9)
    other = in_rounds(ok("B"), [*[9.5] * 9, *[11.0] * 12])
    found = analyse(job(one, other))
    assert found.best_conversion == "A"
    assert found.tied_with_best == ("B",)


def test_headroom_that_the_rounds_cannot_tell_is_not_known() -> None:
    wild = in_rounds(ok(INDUCTOR), [20.0 * 3**number for number in range(9)])
    found = analyse(job(wild, in_rounds(ok("ONNX_CPU"), [5.0] * 9)))
    assert (found.best_conversion, found.headroom) == ("ONNX_CPU", None)
    assert found.best_speedup_vs_inductor is None
