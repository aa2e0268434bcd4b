"""The choice under limits and the Pareto front in every document."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console
from tests.support.example_jobs import changed, failed, in_rounds, job, ok

from almaflow.analysis import analyse, to_output
from almaflow.analysis.choose import Choice
from almaflow.records import Choosing, Job
from almaflow.report.choice import choice_in, chosen
from almaflow.report.html_page import document
from almaflow.report.markdown import summary_markdown
from almaflow.report.pictures import latency_against_accuracy
from almaflow.report.result import render_result
from almaflow.report.table import render


def made(choose: Choosing | None = None) -> Job:
    sizes = {"EAGER": (20.0, 47.0), "ONNX_CPU": (5.0, 47.0), "INT8": (6.0, 12.0)}
    outcomes = (changed(in_rounds(ok(name), [ms] * 9), model_mb=size) for name, (ms, size) in sizes.items())
    return replace(job(*outcomes, failed("JIT_TRACE")), choose=choose or Choosing())


LIMITED = made(Choosing(max={"memory/model_mb": 20}))
CHOSEN = "Chosen: INT8, lowest latency_ms (6); 1 of 3 fits memory/model_mb <= 20"


def test_the_table_marks_the_front_and_ends_with_what_was_chosen() -> None:
    console = Console(file=io.StringIO(), width=200)
    render(LIMITED, analyse(LIMITED), console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    names = [line.split()[:3] for line in text.splitlines() if " cpu " in line]
    assert [name[:3] for name in names] == [[">", "ONNX_CPU", "*"], ["INT8", "*", "cpu"], ["EAGER", "cpu", "float32"]]
    assert "* on the Pareto front: no other is as good in latency, fidelity and size, and better in one\n" in text
    assert f"{CHOSEN}\n  ONNX_CPU: memory/model_mb 47 > 20\n  EAGER: memory/model_mb 47 > 20\n" in text
    console = Console(file=io.StringIO(), width=200)
    render(made(), analyse(made()), console)
    assert isinstance(console.file, io.StringIO)
    assert "Chosen" not in console.file.getvalue()


def test_the_summary_has_it_below_the_best() -> None:
    text = summary_markdown(LIMITED, analyse(LIMITED))
    best, choice, *_ = text.split("\n\n")
    assert best.startswith("**Best: ONNX_CPU")
    assert choice == f"**{CHOSEN.replace('<', chr(92) + '<')}**"
    assert "| `EAGER` | memory/model_mb 47 > 20 |" in text
    assert "| `ONNX_CPU` (best) \\* | cpu |" in text
    assert "| `EAGER` | cpu |" in text


def test_the_document_and_a_loaded_result_have_it() -> None:
    output = to_output(LIMITED)
    text = document("one job", [output])
    assert CHOSEN.replace("<", "&lt;") in text
    assert "<td><code>EAGER</code></td><td>memory/model_mb 47 &gt; 20</td>" in text
    assert "<code>INT8</code> *" in text
    console = Console(file=io.StringIO(), width=200)
    render_result(output, console)
    assert isinstance(console.file, io.StringIO)
    assert CHOSEN in console.file.getvalue()
    assert "INT8 *" in console.file.getvalue()
    assert "Chosen" not in document("one job", [to_output(made())])


def test_the_picture_has_rings_and_steps_for_the_front() -> None:
    entries = to_output(LIMITED)["conversions"]
    drawn = latency_against_accuracy(entries, ["ONNX_CPU", "INT8"])
    ring = "stroke: #333333; stroke-width: 1.2"
    assert ring in drawn
    assert ring not in latency_against_accuracy(entries)
    evaluated = [each | {"quality/top1": 0.7 + number / 100} for number, each in enumerate(entries[:3])]
    assert "quality/top1" in latency_against_accuracy(evaluated, ["EAGER"])


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        (
            Choice(max={"latency/p99": 20}, rejected={"A": ["x"], "B": ["x"]}),
            "Chosen: none, no conversion fits latency/p99 <= 20",
        ),
        (
            Choice(by="energy/j_per_sample", rejected={"A": ["x"]}),
            "Chosen: none, no conversion has energy/j_per_sample",
        ),
        (
            Choice(by="throughput", conversion="A", value=123.45, fitting=["A", "B"], tied_with_chosen=["B"]),
            "Chosen: A, highest throughput (123.5); tied with B",
        ),
        (
            Choice(min={"fidelity/sqnr_db": 40}, by="fidelity/sqnr_db", conversion="A", fitting=["A"]),
            "Chosen: A, highest fidelity/sqnr_db; 1 of 1 fits fidelity/sqnr_db >= 40",
        ),
    ],
)
def test_the_words(choice: Choice, text: str) -> None:
    assert chosen(choice) == text


def test_a_choice_of_a_newer_almaflow_is_read() -> None:
    output = to_output(LIMITED)
    output["choice"] |= {"new": 1}
    del output["choice"]["tied_with_chosen"]
    found = choice_in(output)
    assert found
    assert found.conversion == "INT8"
