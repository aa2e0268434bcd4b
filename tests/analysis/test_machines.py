"""Models by machines: the best conversion of each, what it costs, and what was predicted."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from typing import Any

from rich.console import Console
from tests.support.example_jobs import failed, job, ok

from almaflow.analysis import to_output
from almaflow.analysis.machines import machine_names, machine_rows
from almaflow.analysis.sweep import summarise
from almaflow.records import Prediction, Sweep, SweepJob
from almaflow.report.html_page import document
from almaflow.report.machines import machine_cells
from almaflow.report.sweep import render_sweep, sweep_markdown


def output(
    hardware: str, ms: float, *, machine: str | None = None, price: float | None = None, model: str = "resnet18"
) -> dict[str, Any]:
    """The job of a model whose best conversion, ONNX_CPU, took ``ms``, and was predicted to take 5."""
    fast = replace(ok("ONNX_CPU", ms), prediction=Prediction(5.0, "roofline", "1"))
    made = job(ok("EAGER", 2 * ms), fast)
    described = replace(made.hardware, name=hardware, price_per_hour=price)
    return to_output(replace(made, hardware=described, machine=machine, model=replace(made.model, name=model)))


def test_the_fastest_machine_of_a_model_comes_first_and_the_cheapest_is_marked() -> None:
    rows = machine_rows([output("small", 10.0, price=0.36), output("large", 4.0, price=3.6), output("free", 8.0)])
    assert [machine_cells(row) for row in rows] == [
        ("resnet18 b2", "large", "ONNX_CPU", "4.00", "5.00", "+25.0%", "2", "fastest"),
        ("resnet18 b2", "free", "ONNX_CPU", "8.00", "5.00", "-37.5%", "", ""),
        ("resnet18 b2", "small", "ONNX_CPU", "10.00", "5.00", "-50.0%", "0.5", "cheapest"),
    ]


def test_of_several_jobs_of_a_model_on_a_machine_the_best_one_counts() -> None:
    rows = machine_rows([output("small", 10.0), output("small", 6.0), output("large", 4.0, model="alexnet")])
    assert [(row.workload, row.machine, row.figures["latency_ms"]) for row in rows] == [
        ("resnet18 b2", "small", 6.0),
        ("alexnet b2", "large", 4.0),
    ]
    assert not any(row.is_fastest or row.is_cheapest for row in rows)


def test_two_machines_of_a_kind_are_told_apart_by_their_ids() -> None:
    several = [output("small", 1.0, machine=each) for each in ("aaaaaa111111", "bbbbbb222222")]
    assert machine_names(several) == ["small aaaaaa", "small bbbbbb"]
    assert machine_names([several[0], output("large", 1.0, machine="cccccc333333")]) == ["small", "large"]


def test_one_machine_and_jobs_without_a_result_have_no_row() -> None:
    assert machine_rows([output("small", 10.0), output("small", 11.0)]) == ()
    broken = to_output(job(failed("EAGER")))
    rows = machine_rows([output("small", 10.0), broken])
    assert [row.machine for row in rows] == ["small"]


def test_a_sweep_and_its_document_have_a_table_over_machines() -> None:
    outputs = [output("small", 10.0, price=0.36), output("large", 4.0, price=3.6)]
    jobs = [
        SweepJob(number, (f"hardware={each['hardware']}",), 0.0, 60.0, 0, output=each)
        for number, each in enumerate(outputs)
    ]
    made = summarise(Sweep("s", (), tuple(each.overrides for each in jobs), 0.0), jobs)
    stream = StringIO()
    render_sweep(made, Console(file=stream, width=120))
    assert "Machines" in stream.getvalue()
    assert "cheapest" in stream.getvalue()
    assert "| resnet18 b2 | large | ONNX_CPU | 4.00 | 5.00 | +25.0% | 2 | fastest |" in sweep_markdown(made).replace(
        "\\_", "_"
    )
    page = document("a sweep", outputs)
    assert "<h2>Machines</h2>" in page
    assert "<td>cheapest</td>" in page
    alone = summarise(Sweep("s", (), (jobs[0].overrides,), 0.0), jobs[:1])
    assert "Machines" not in sweep_markdown(alone)
