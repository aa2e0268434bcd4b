"""The document that is sent to somebody: the answer, the figures, the pictures, and what was left out."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from tests.support.example_jobs import failed, in_rounds, job, ok, unavailable

from almaflow.analysis import to_output
from almaflow.records import Status
from almaflow.report.html_page import document
from almaflow.report.pictures import latency_against_fidelity, latency_bars

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
    (int8,) = (row for row in rows if row[0] == "ONNX_CPU_INT8_STATIC" and len(row) > 4)
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
    assert "No conversion gave a latency that counts" in text
    assert "<svg" not in text


@pytest.mark.parametrize("draw", [latency_bars, latency_against_fidelity])
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
