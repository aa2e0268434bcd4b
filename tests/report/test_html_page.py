"""The document that is sent to somebody: the answer, the figures, the pictures, and what was left out."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations

import pytest
from tests.support.example_jobs import GOOD, changed, failed, in_rounds, job, ok, unavailable

from almaflow.analysis import to_output
from almaflow.records import Status
from almaflow.report.html_page import document
from almaflow.report.pictures import latency_against_accuracy, latency_bars

OUTCOMES = (
    in_rounds(ok("EAGER"), [20.0 + share / 10 for share in range(8)]),
    in_rounds(ok("ONNX_CPU_INT8_STATIC", dtype="int8", predicted_ms=6.0), [5.0 + share / 100 for share in range(8)]),
    ok("BF16+EAGER", 12.0, dtype="bfloat16"),
    failed("COMPILE_TVM", message="<b>it & broke</b>"),
    unavailable("ONNX_GPU"),
    unavailable("COMPILE_CUDAGRAPHS"),
)


class Cells(HTMLParser):
    """The text of every cell, and whether every tag that was opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag != "meta":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def read(text: str) -> list[list[str]]:
    parser = Cells()
    parser.feed(re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL))
    assert parser.open == []
    return parser.rows


def test_figures_and_reasons_are_in_the_document() -> None:
    rows = read(document("resnet18 here", [to_output(job(*OUTCOMES))]))
    (int8,) = (row for row in rows if row[0] == "ONNX_CPU_INT8_STATIC *" and len(row) > 4)
    assert int8[1:] == ["cpu", "int8", "5.04", "5.00 to 5.07", "397.2", "4.04x", "110.0 dB", "+19.2%"]
    assert ["COMPILE_TVM", "error: <b>it & broke</b>"] in rows
    assert ["ONNX_GPU, COMPILE_CUDAGRAPHS", "needs CUDA"] in rows
    assert ["cpu", "Intel Xeon"] in rows


def test_a_price_becomes_a_cost() -> None:
    """At 100 samples a second a million takes 10,000 seconds: 2.78 hours at 3.60 USD."""
    made = job(ok("EAGER", 20.0))
    priced = replace(made, hardware=replace(made.hardware, price_per_hour=3.6, price_source="a list, 2026-11-01"))
    text = document("x", [to_output(priced)])
    assert ["EAGER", "10.00"] in [[row[0], row[-1]] for row in read(text)]
    assert "a list, 2026-11-01" in text


def test_a_job_without_any_result_is_a_document_too() -> None:
    text = document("x", [to_output(job(failed("EAGER")))])
    assert "No conversion has a valid latency" in text
    assert "<svg" not in text


def test_a_sweep_begins_with_a_table_over_its_jobs_which_are_folded() -> None:
    made = job(*OUTCOMES)
    other = replace(made, model=replace(made.model, name="alexnet", batch_size=16))
    small = replace(other, model=replace(other.model, batch_size=4))
    text = document("a sweep", [to_output(each) for each in (made, other, small)])
    head, *jobs = text.split("<details>")
    first, *rows = read(head + "</body></html>")
    assert first == ["model", "batch", "best", "ms", "vs eager", "vs torch.compile", "fidelity", "ran"]
    assert [row[:3] for row in rows] == [
        ["alexnet", "4", "ONNX_CPU_INT8_STATIC"],
        ["alexnet", "16", "ONNX_CPU_INT8_STATIC"],
        ["resnet18", "2", "ONNX_CPU_INT8_STATIC"],
    ]
    assert rows[0][3:] == ["5.04", "4.04x", "", "110.0 dB", "3 of 6"]
    assert "<svg" not in head
    assert len(jobs) == 3
    assert all(f'id="job-{number}"' in each for number, each in enumerate(jobs, 1))
    read(text)
    assert "<details>" not in document("one job", [to_output(made)])


def test_threads_are_told_as_asked_and_as_found() -> None:
    found = changed(OUTCOMES[0], threads={"torch": 2}), changed(OUTCOMES[1], threads={"torch": 1})
    rows = read(document("x", [to_output(job(*found))]))
    assert ["threads", "2", "torch 2 (1 conversions), torch 1 (1 conversions)"] in rows


def test_outputs_without_a_ratio_of_signal_to_noise_are_not_drawn_as_equal() -> None:
    fidelity = replace(GOOD, sqnr_db=math.inf, equal_share=0.99, max_abs_diff=3.0)
    classes = changed(ok("ONNX_CPU", 30.0), fidelity=fidelity)
    entries = to_output(job(ok("EAGER", 900.0), classes))["conversions"]
    assert "ONNX_CPU" not in latency_against_accuracy(entries)
    assert latency_against_accuracy([each for each in entries if each["conversion"] == "ONNX_CPU"]) == ""


def test_numbers_on_an_axis_are_written_as_people_do() -> None:
    entries = to_output(job(ok("EAGER", 900.0), ok("ONNX_CPU", 30.0)))["conversions"]
    drawn = re.findall(r"<text[^>]*>([^<]*)</text>", latency_against_accuracy(entries))
    assert {"100", "300"} <= set(drawn)
    assert not [text for text in drawn if "^" in text or "\u00d7" in text]


def test_names_of_points_that_lie_together_are_beside_each_other() -> None:
    made = (ok(f"CONVERSION_{number}", 10.0 + number / 50) for number in range(7))
    drawn = latency_against_accuracy(to_output(job(*made, ok("EAGER", 80.0)))["conversions"])
    found = re.findall(r'x="([\d.-]+)" y="([\d.-]+)"[^>]*>CONVERSION_\d', drawn)
    assert len(found) == 7
    width, height = 50, 7  # points
    places = [(float(x), float(y)) for x, y in found]
    assert all(
        abs(x - other_x) > width or abs(y - other_y) >= height for (x, y), (other_x, other_y) in combinations(places, 2)
    )


@pytest.mark.parametrize("draw", [latency_bars, latency_against_accuracy])
def test_the_pictures_are_the_same_for_the_same_figures(draw: object) -> None:
    assert callable(draw)
    entries = to_output(job(*OUTCOMES))["conversions"]
    first = draw(entries)
    assert first == draw(entries)
    assert first.startswith("<svg")
    assert "ONNX_CPU_INT8_STATIC" in first


def test_a_job_that_was_interrupted_says_so() -> None:
    late = replace(OUTCOMES[0], status=Status.FAILED, interrupted=True)
    output = to_output(replace(job(late, ok("ONNX_CPU")), interrupted=True))
    text = document("one job", [output])
    assert "The job was interrupted" in text
    assert ["EAGER", "interrupted: ended after 8 rounds, before all that was asked for was measured"] in read(text)
    assert "interrupted" not in document("one job", [to_output(job(*OUTCOMES))])
