from __future__ import annotations

from dataclasses import replace

from tests.support.example_jobs import changed, failed, in_rounds, job, ok, unavailable

from almaflow.analysis import analyse
from almaflow.analysis.rows import make_row
from almaflow.records import FailureKind, Job, Status
from almaflow.report.markdown import line, summary_markdown


def markdown(made: Job) -> str:
    return summary_markdown(made, analyse(made))


def test_a_speedup_that_is_not_known_is_left_out_of_the_line() -> None:
    made = job(in_rounds(ok("EAGER"), [20.0 * 3**number for number in range(9)]), in_rounds(ok("ONNX_CPU"), [5.0] * 9))
    assert line(make_row(made, made.outcomes[1])) == "5.00 ms, 110.0 dB ok"


def test_a_conversion_in_a_line() -> None:
    made = job(
        in_rounds(ok("EAGER"), [20.0] * 9),
        in_rounds(ok("ONNX_CPU"), [5.0] * 9),
        failed("JIT_TRACE", FailureKind.WRONG_OUTPUT, samples_ms=3.0, message="SQNR 1.0 dB\nis below 50 dB"),
        unavailable("ONNX_GPU"),
    )
    assert {outcome.planned.name: line(make_row(made, outcome)) for outcome in made.outcomes} == {
        "EAGER": "20.00 ms, 1.00x eager, 110.0 dB ok",
        "ONNX_CPU": "5.00 ms, 4.00x eager, 110.0 dB ok",
        "JIT_TRACE": "wrong_output in convert: SQNR 1.0 dB (its 3.00 ms do not count)",
        "ONNX_GPU": "cannot run here: needs CUDA",
    }


def test_the_verdict_comes_before_the_table_and_threads_behind_it() -> None:
    """MLflow folds a description to its first lines."""
    eager = changed(in_rounds(ok("EAGER"), [20.0] * 9), threads={"torch": 2, "openmp": 2})
    onnx = changed(
        in_rounds(ok("ONNX_CPU"), [5.0] * 9), threads={"torch": 2, "onnxruntime": 1}, runtime={"graph": "O3"}
    )
    text = markdown(job(eager, onnx))
    assert text.startswith("**Best: ONNX_CPU, 5.00 ms (4.00x eager)**\n\n| conversion |")
    assert "| threads | 2 | torch 2, openmp 2, onnxruntime 1 |" in text
    assert "| device |  | cpu |" in text
    assert "| runtime of ONNX_CPU |  | graph O3 |" in text
    assert "min_samples 64" in text


def test_table_verdict_failures_and_machine() -> None:
    text = markdown(
        job(
            in_rounds(ok("EAGER", predicted_ms=18.0), [20.0] * 9),
            in_rounds(ok("ONNX_CPU", predicted_ms=18.0), [3.9, 4.1, 3.9, 4.1, 4.0, 4.0, 3.9, 4.1, 4.0]),
            failed("JIT_TRACE", FailureKind.CRASHED, message="killed by SIGABRT"),
            unavailable("ONNX_GPU"),
        )
    )
    assert (
        "| `ONNX_CPU` (best) \\* | cpu | float32 | 4.00 | 3.90-4.10 | 500.0 | 5.0x |  | 110.0 dB ok | +350.0% |" in text
    )
    assert "**Best: ONNX_CPU, 4.00 ms (5.0x eager)**" in text
    assert "| cross-platform | `ONNX_CPU` | 4.00 | 5.0x |" in text
    assert "| `JIT_TRACE` | crashed in convert: killed by SIGABRT |" in text
    assert "| missing_dependency: needs CUDA | `ONNX_GPU` |" in text
    assert "| cpu | Intel Xeon |\n| torch | 2.14.1 |" in text


def test_a_job_that_was_interrupted_says_so_and_what_it_has() -> None:
    late = replace(in_rounds(ok("ONNX_CPU"), [4.0]), status=Status.FAILED, interrupted=True)
    text = markdown(replace(job(ok("EAGER"), late, failed("JIT_TRACE")), interrupted=True))
    assert "The job was interrupted: the same command with resume=true measures what is missing" in text
    assert "## Failed" in text
    row = "| `ONNX_CPU` | ended after 1 round, before all that was asked for was measured (its 4.00 ms do not count) |"
    assert row in text[text.index("## Interrupted") :]


def test_a_message_cannot_break_the_table() -> None:
    text = markdown(job(failed("EAGER", message="a | b <script> c\\d")))
    assert "| `EAGER` | error in convert: a \\| b \\<script> c\\\\d |" in text


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    made = job(ok("EAGER", 20.0), failed("JIT_TRACE", message="x | y"), unavailable("ONNX_GPU", "no | no"))
    for block in markdown(made).split("\n\n"):
        lines = [line.replace("\\|", "") for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1


def test_a_job_without_results_or_environment_has_no_empty_parts() -> None:
    text = markdown(replace(job(), environment={}))
    assert "|" not in text
    assert "##" not in text
    assert "Best: none" in text
