"""A profile's page and two profiles side by side, by the commands that people know from jobs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from tests.support.made_profiles import figure, results, verification, write_profile

from almaflow.cli.compare import compare
from almaflow.cli.report import report
from almaflow.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from click import Command


def run(command: Command, *words: str) -> str:
    done = CliRunner().invoke(command, words, standalone_mode=False)
    if done.exception:
        raise done.exception
    return done.output


def measured(name: str, *sequences: str, onnx_ms: float = 1.0) -> None:
    files = write_profile(*sequences, name=name)
    figures = [
        figure(segment, conversion, ms)
        for segment in {*"".join(sequences)}
        for conversion, ms in (("EAGER", 4.0), ("ONNX_CPU", onnx_ms))
    ]
    files.write_results(replace(results(*figures), profile_id=name, verifications=(verification(),)))


def test_the_page_has_totals_a_call_from_left_to_right_and_each_segment(tmp_path: Path) -> None:
    measured("made", "aba", "aba", "aba")
    path = tmp_path / "page.html"
    assert run(report, "made", "--output", str(path), "--title", "where <it> goes") == f"{path}\n"
    page = path.read_text(encoding="utf-8")
    assert "<h1>where &lt;it&gt; goes</h1>" in page
    assert page.count("<svg") == 2  # as recorded, and with the best of each
    bars = re.findall(r'<rect x="([\d.]+)" y="\d+" width="([\d.]+)"[^>]*><title>([^<]*)', page)
    assert len(bars) == 14  # three graphs and four slots of Python, twice
    ends = [float(x) + float(width) for x, width, _ in bars]
    assert max(ends) == pytest.approx(1000, abs=0.1)
    assert bars[1][2] == "app.py:10, 3 operations: 1.00 ms"
    assert bars[8][2] == "app.py:10, 3 operations, ONNX_CPU: 1.00 ms"
    assert "http" not in page  # nothing is loaded from elsewhere


def test_two_profiles_side_by_side() -> None:
    measured("old", "ab", "ab", "ab")
    measured("new", "ac", "ac", "ac", onnx_ms=0.1)
    data = json.loads(run(compare, "old", "new", "--format", "json"))
    (function,) = data["functions"]
    totals = {each["conversion"]: each for each in function["totals"]}
    assert totals["ONNX_CPU"]["before"]["ms"] == pytest.approx(7.0)
    assert totals["ONNX_CPU"]["change_pct"] == pytest.approx(100 * (5.2 / 7.0 - 1))
    assert (totals["ONNX_CPU"]["verdict"], totals["EAGER"]["verdict"]) == ("faster", "not told apart")
    assert function["same_segments"] == 1
    assert [[each["segment_id"] for each in function[f"only_{side}"]] for side in ("before", "after")] == [["b"], ["c"]]
    shown = run(compare, "old", "new")
    assert "1 segment in both" in shown
    assert "1 only before: app.py:11, 3 operations" in shown


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("made", "j1"), "the IDs of two"),
        (("made", "made", "--fail-above", "5"), "without a gate"),
        (("made", "made", "--format", "csv"), "as table or json"),
    ],
)
def test_what_profiles_cannot_be_compared_with_is_one_line(words: tuple[str, ...], reason: str) -> None:
    measured("made", "a", "a")
    with pytest.raises(UsageError, match=reason):
        run(compare, *words)
