"""Accuracy over time on a terminal, however wide it is."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from tests.support.scored_runs import nights

from almaflow.accuracy.summary import series_of
from almaflow.records import RecordedPrediction, ScoredRun
from almaflow.report.accuracy.terminal import render
from almaflow.report.console import PlainConsole

TITLE = "mobilenet_v3_large b1 COMPILE_INDUCTOR_DEFAULT calibrated (office): too low"


def told(runs: list[ScoredRun], width: int) -> list[str]:
    console = PlainConsole(file=io.StringIO(), width=width)
    render(series_of(runs), console, against="floor", everything=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def two_models() -> list[ScoredRun]:
    stated = (RecordedPrediction("calibrated", "v1", 7.0, 6.0, 16.0),)
    large = nights(8, model="mobilenet_v3_large", conversion="COMPILE_INDUCTOR_DEFAULT", said=stated)
    return [*nights(8, said=(RecordedPrediction("calibrated", "v1", 10.2),)), *large]


@pytest.mark.parametrize("width", [80, 160])
def test_a_series_stands_above_its_figures_where_the_line_is_too_short(width: int) -> None:
    lines = told(two_models(), width)
    assert max(map(len, lines)) <= width
    at = next(number for number, line in enumerate(lines) if line.startswith(TITLE))
    assert (lines[at] == TITLE) is (width == 80)
    figures = lines[at + 1] if width == 80 else lines[at].removeprefix(TITLE)
    # Eight points, 30% too low; none within 10%, and all of them inside of what the predictor stated.
    assert figures.split()[:2] == ["8", "8"]
    assert figures.split()[5:] == ["29.9%", "0%", "100%", "-8.1"]


def test_two_series_have_no_interval_over_them() -> None:
    twice = [*two_models(), *(replace(each, model="vgg11") for each in two_models()[:8])]
    summed = next(line for line in told(twice, 160) if line.startswith("calibrated  ONNX_CPU"))
    assert summed.split()[2:4] == ["2", "16"]
    assert "[" not in summed


def test_few_points_are_called_so() -> None:
    lines = told(nights(2), 160)
    assert any(": too few points" in line for line in lines)
