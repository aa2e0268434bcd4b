"""A report leaves out what the almaflow that wrote the result did not know."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tests.support.example_jobs import failed, in_rounds, job, ok, unavailable

from almaflow.analysis import to_output
from almaflow.analysis.output import completed
from almaflow.analysis.sweep import summarise
from almaflow.errors import RecordError
from almaflow.records import Sweep, SweepJob
from almaflow.report import html_page
from almaflow.report.html_page import document

OUTPUT = to_output(job(in_rounds(ok("EAGER"), [20.0, 20.0]), failed("ONNX_CPU"), unavailable("COMPILE_TVM")))


def without(key: str) -> list[dict[str, Any]]:
    """The output without this key, of the job and of each conversion."""
    outer, inner = copy.deepcopy(OUTPUT), copy.deepcopy(OUTPUT)
    outer.pop(key, None)
    for each in inner["conversions"]:
        each.pop(key, None)
    return [outer, inner]


def test_any_key_may_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    for picture in "latency_bars", "latency_against_accuracy":
        monkeypatch.setattr(html_page, picture, lambda *_: "")
    keys = {*OUTPUT, *(key for each in OUTPUT["conversions"] for key in each)}
    for output in (each for key in sorted(keys) for each in without(key)):
        read = completed(output)
        assert "<html" in document("older", [read])
        sweep = Sweep("s", (), None, 1.0)
        summarise(sweep, [SweepJob(0, (), 1.0, 2.0, 0, output=read)])


@pytest.mark.parametrize("damaged", [None, [], "x", 3, {"conversions": 3}, {"conversions": [3]}, {"conversions": None}])
def test_what_is_no_output_is_one_error(damaged: object) -> None:
    with pytest.raises(RecordError, match="damaged"):
        completed(damaged)


def test_a_whole_output_stays_as_it_is() -> None:
    assert completed(OUTPUT) == OUTPUT
