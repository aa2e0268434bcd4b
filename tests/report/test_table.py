from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console
from tests.support.example_jobs import changed, failed, in_rounds, job, ok, unavailable

from almaflow.analysis import analyse
from almaflow.records import Drift, FailureKind, Job, MachineState, Outcome, Status
from almaflow.report.table import render

INDUCTOR = "COMPILE_INDUCTOR_DEFAULT"
SPREAD = (1.5, 0.96, 1.02, 0.98, 1.01, 0.99, 1.01, 0.99, 1.0)
"""Nine rounds that go up and down: the second lowest and the second highest are the ends of the interval."""


def rounds_of(name: str, middle_ms: float) -> Outcome:
    return in_rounds(ok(name, predicted_ms=18.0), [middle_ms * share for share in SPREAD])


def printed(made: Job, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width)
    render(made, analyse(made), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def line_of(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if name in line)


def cpu_job() -> Job:
    return job(
        rounds_of("EAGER", 20.0),
        rounds_of(INDUCTOR, 10.0),
        rounds_of("ONNX_CPU", 4.0),
        failed("JIT_TRACE", FailureKind.CRASHED, message="\n  killed by SIGABRT [core]\nmore"),
        failed("TORCH_SCRIPT", FailureKind.WRONG_OUTPUT, samples_ms=1.0),
        unavailable("ONNX_GPU"),
        unavailable("COMPILE_CUDAGRAPHS"),
        unavailable("COMPILE_TENSORRT", "torch_tensorrt is not installed", "pip install torch-tensorrt"),
    )


def test_one_line_a_conversion_where_it_fits() -> None:
    text = printed(cpu_job())
    figures = " ".join(line_of(text, "ONNX_CPU").split())
    assert figures == "> ONNX_CPU * cpu float32 4.00 3.92-4.08 475.7 5.00x 2.50x 110.0 dB ok +350.0%"
    at = [text.index(f" {name} ") for name in ("ONNX_CPU", INDUCTOR, "EAGER")]
    assert at == sorted(at)
    assert text.count(">") == 1


@pytest.mark.parametrize("width", [80, 100, 120])
def test_it_fits_the_terminal_and_loses_nothing(width: int) -> None:
    text = printed(cpu_job(), width)
    assert max(map(len, text.splitlines())) <= width
    for shown in (INDUCTOR, "ONNX_CPU", "4.00", "3.92-4.08", "475.7", "2.50x", "110.0 dB", "+350.0%", "float32"):
        assert shown in text


def test_a_failure_has_its_class_phase_first_line_and_log() -> None:
    text = printed(cpu_job())
    assert "crashed in convert: killed by SIGABRT [core]\n" in text
    assert "more" not in text
    assert "log: logs/JIT_TRACE.log" in text
    assert "wrong_output in convert: it broke (its 1.00 ms do not count)" in text


def test_what_cannot_run_is_grouped_by_reason_with_the_install_line() -> None:
    text = printed(cpu_job())
    assert "missing_dependency: needs CUDA\n      ONNX_GPU, COMPILE_CUDAGRAPHS\n" in text
    assert "torch_tensorrt is not installed (to install: pip install torch-tensorrt)\n      COMPILE_TENSORRT\n" in text


def test_the_verdict_follows() -> None:
    text = printed(cpu_job())
    assert "Best: ONNX_CPU, 4.00 ms (5.00x eager, 2.50x inductor)\n" in text
    assert "Headroom beyond inductor: 2.50x with ONNX_CPU\n" in text
    assert "cross-platform: ONNX_CPU (4.00 ms, 5.00x eager)\n" in text


def test_a_path_is_not_broken_across_lines() -> None:
    path = "/".join(["a-long-directory"] * 9)
    text = printed(job(replace(failed("ONNX_CPU"), log_path=path)), 80)
    assert path in text


def unstable(outcome: Outcome) -> Outcome:
    assert outcome.measurement is not None
    noisy = replace(outcome.measurement, stable=False, recompiles=2, notes=("two threads were busy",))
    return replace(outcome, measurement=noisy, planned=replace(outcome.planned, device_override=True))


def test_marks_are_in_characters_and_explained() -> None:
    text = printed(job(unstable(ok("EAGER", 20.0))))
    assert "20.00~" in text
    assert "cpu!" in text
    assert "~ at a latency: " in text
    assert "! ran on another device" in text
    assert "EAGER: compiled anew 2 times" in text
    assert "EAGER: two threads were busy" in text
    assert "its latency is unsure" in text
    assert "unsure" not in printed(cpu_job())


def test_no_column_for_predictions_without_one() -> None:
    assert "error" not in printed(job(ok("EAGER")))


def test_two_that_are_not_told_apart_are_called_so() -> None:
    text = printed(job(ok("A", [9.0, 10.0, 11.0]), ok(INDUCTOR, [9.2, 10.2, 11.2])), 300)
    assert f"tied with {INDUCTOR}\n" in text
    assert "Headroom beyond inductor: none, it is tied with A\n" in text


def test_headroom_when_inductor_is_best_or_missing() -> None:
    assert "Headroom beyond inductor: none" in printed(job(ok(INDUCTOR)))
    alone = printed(job(ok("EAGER")))
    assert "Headroom" not in alone
    assert "inductor" not in alone
    assert f"Headroom beyond inductor: unknown, {INDUCTOR} has no" in printed(job(ok("EAGER"), failed(INDUCTOR)))


def test_headroom_says_when_inductor_compiled_only_a_part() -> None:
    partly = changed(ok(INDUCTOR, 10.0), outside_share=0.952)
    text = printed(job(partly, ok("ONNX_CPU", 5.0)), 300)
    assert "2.0x with ONNX_CPU; inductor compiled only a part, 95% of the FLOPs ran eagerly" in text
    assert "fastest here; inductor compiled only a part" in printed(job(partly), 300)
    assert "only a part" not in printed(job(changed(ok(INDUCTOR), outside_share=0.001)), 300)


def test_a_job_where_everything_failed_still_reads() -> None:
    text = printed(job(failed("EAGER", message="")))
    assert "Best: none, no conversion has a valid latency" in text
    assert "error in convert: no reason was given" in text


def test_a_figure_without_an_interval_says_so() -> None:
    assert " ? " in line_of(printed(job(ok("EAGER", 20.0))), "> EAGER")


def test_a_terminal_without_unicode_gets_ascii() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    made = cpu_job()
    render(made, analyse(made), Console(file=stream, width=120))
    stream.seek(0)
    assert "3.92-4.08" in stream.read()


def test_without_inductor_it_has_no_column() -> None:
    text = printed(job(rounds_of("EAGER", 20.0), rounds_of("ONNX_CPU", 4.0)))
    assert "vs eager" in text
    assert "inductor" not in text


def test_the_header_has_the_threads_and_the_tier_only_where_it_was_used() -> None:
    made = cpu_job()
    assert "batch size 2, 2 threads, tier 2\n" in printed(made)
    assert "batch size 2, 2 threads\n" in printed(replace(made, config={"conversions": ["EAGER"]}))


def test_a_busy_machine_is_said_once() -> None:
    busy = [MachineState(others_cpus=0.7, steal_cpus=0.0)] * 9
    rows = [in_rounds(ok(name), [20.0] * 9, states=busy) for name in ("EAGER", "ONNX_CPU", "OPENVINO")]
    text = printed(job(*rows), 300)
    assert text.count("other processes used 0.7 CPUs") == 1
    assert line_of(text, "Best: ").endswith("; the machine was busy: measure again")
    assert "busy" not in printed(cpu_job())


@pytest.mark.parametrize(("end_ms", "said"), [(24.0, "20% slower"), (17.0, "15% faster"), (20.8, None)])
def test_drift_is_said_where_it_is_more_than_noise(end_ms: float, said: str | None) -> None:
    text = printed(replace(cpu_job(), drift=Drift(start_ms=20.0, end_ms=end_ms, resolved=0.05)), 300)
    assert ("The machine drifted: eager was " + said in text) if said else ("drifted" not in text)


def test_what_was_cut_short_is_shown_apart_with_the_true_reason_and_its_figure() -> None:
    late = replace(rounds_of("ONNX_CPU", 4.0), status=Status.FAILED, interrupted=True)
    text = printed(replace(job(rounds_of("EAGER", 20.0), late, failed("JIT_TRACE")), interrupted=True))
    assert "The job was interrupted: the same command with resume=true measures what is missing" in text
    assert "max_time_s" not in text
    failures, interrupted = text.index("\nFailed"), text.index("\nInterrupted")
    reason = "ended after 9 rounds, before all that was asked for was measured (its 4.00 ms do not count)"
    assert text.index("JIT_TRACE") > failures
    assert text.index(reason) > interrupted
    assert "> EAGER" in text
    assert "interrupted" not in printed(job(rounds_of("EAGER", 20.0)))


def bimodal_job() -> Job:
    """Eager beside other load: most rounds are slow, and the fast ones have most of the calls."""
    slow_ms, fast_ms = 80.0, 0.6
    eager = in_rounds(ok("EAGER"), [slow_ms, slow_ms, fast_ms, slow_ms, slow_ms, fast_ms, slow_ms, slow_ms, fast_ms])
    assert eager.measurement is not None
    fast = [each for each in eager.measurement.rounds if each.wall_s < 0.1]
    samples: list[float] = []
    for each in eager.measurement.rounds:
        samples += [fast_ms] * 30 if each in fast else [slow_ms] * 3
    rounds = tuple(replace(each, count=30) if each in fast else each for each in eager.measurement.rounds)
    return job(changed(eager, samples_ms=tuple(samples), rounds=rounds), in_rounds(ok("ONNX_CPU"), [0.3] * 9))


def test_a_speedup_that_the_rounds_cannot_tell_is_nowhere_shown_as_a_figure() -> None:
    text = printed(bimodal_job())
    assert "0.6000~" in line_of(text, "  EAGER")
    assert "2.0x~" in line_of(text, "> ONNX_CPU")  # by the fastest calls: the rounds say 267
    assert "0.3000~" not in text
    assert "~ at a latency: its 95% interval is wider than ±10%" in text
    assert "~ at a speedup: its rounds were disturbed or too few" in text
    assert "(2.0x~ eager)" in line_of(text, "Best: ONNX_CPU")
    assert "0.3000 ms, 2.0x~ eager" in text[text.index("Recommended for") :]
    assert "26" not in text.replace("263", "")


def test_a_dash_is_explained_and_is_not_said_of_the_best() -> None:
    wild = in_rounds(ok("EAGER"), [20.0 * 3**number for number in range(9)])
    text = printed(job(wild, in_rounds(ok("ONNX_CPU"), [5.0] * 9)))
    assert " - " in line_of(text, "> ONNX_CPU")
    assert "a range, or -, at a speedup: " in text
    assert "Best: ONNX_CPU, 5.00 ms\n" in text
    assert "(5.00 ms)" in text[text.index("Recommended for") :]


def test_what_agrees_is_not_marked() -> None:
    assert "~" not in printed(cpu_job())


def test_the_only_row_that_a_prediction_is_meant_for_is_marked() -> None:
    both = job(ok("EAGER", 20.0), ok(INDUCTOR, 10.0, predicted_ms=12.0))
    for width in (80, 200):
        text = printed(both, width)
        assert text.count("<- PREDICTED") == 1
        assert max(map(len, text.splitlines())) <= width
    assert line_of(printed(both), INDUCTOR).rstrip().endswith("+20.0% <- PREDICTED")
    assert "PREDICTED" not in printed(job(ok("EAGER", 20.0, predicted_ms=12.0), ok(INDUCTOR, predicted_ms=12.0)))
    assert "PREDICTED" not in printed(job(ok("EAGER", 20.0, predicted_ms=12.0)))
