from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.made_profiles import figure, results, verification, workload, write_profile

from almaflow.errors import UsageError
from almaflow.profiles.analysis import analysed
from almaflow.profiles.report import ProfileReport
from almaflow.profiles.timeline import TypicalCall
from almaflow.profiles.workload import PythonSlot
from almaflow.report.console import PlainConsole
from almaflow.report.profile import render_profile
from almaflow.report.profile_page import profile_page

if TYPE_CHECKING:
    from pathlib import Path


def text(data: dict[str, object], *, verbose: bool = False) -> str:
    stream = io.StringIO()
    render_profile(data, PlainConsole(file=stream, width=140), verbose=verbose)
    return stream.getvalue()


def made() -> dict[str, object]:
    known = [figure("a", "EAGER", 4.0), figure("b", "EAGER", 4.0), figure("a", "ONNX_CPU", 1.0)]
    return analysed(workload("ab", "ab", "ab"), results(*known, figure("b", "ONNX_CPU", None), price=0.36))


def test_totals_and_where_the_time_goes_are_shown() -> None:
    lines = text(made()).splitlines()
    assert lines[0] == "predict: 3 calls, 1 variant, 2 segments"
    best = next(line.split() for line in lines if "best of each" in line)
    assert best == ["best", "of", "each", "5.00", "5.00", "10.00", *["9.59-10.41", "1", "100", "dB"]]
    assert "  ONNX_CPU: no total: it raised" in lines
    assert any("EAGER (" not in line and "ONNX_CPU (EAGER 4.00)" in line for line in lines)
    assert lines[-1] == "Not captured: nothing"


def test_every_cell_is_shown_where_all_is_asked_for() -> None:
    shown = text(made(), verbose=True)
    assert "ONNX_CPU: error: it raised" in shown
    assert "EAGER: 4.00 ms 3.60-4.40 100 dB" in shown


def test_what_writes_to_its_inputs_is_marked() -> None:
    known = workload("a", "a", "a")
    known = replace(known, pieces={"a": replace(known.pieces["a"], writes=True)})
    data = analysed(known, results(figure("a", "EAGER", 4.0), figure("a", "ONNX_CPU", 1.0)))
    shown = text(data, verbose=True)
    assert "ONNX_CPU: 1 segment with writes not checked, and kept out of the best of each" in shown
    assert "EAGER (ONNX_CPU 1.00 writes not checked)" in shown
    assert "ONNX_CPU: 1.00 ms 0.9000-1.10 100 dB writes not checked" in shown
    page = profile_page(data)
    assert ">1.00 writes not checked</td>" in page
    assert "ONNX_CPU: 1 segment with writes not checked, and kept out of the best of each" in page


def test_what_it_took_in_place_is_beside_what_was_predicted() -> None:
    figures = (figure("a", "EAGER", 4.0), figure("a", "ONNX_CPU", 1.0))

    def shown(**changes: Any) -> str:
        known = replace(results(*figures), verifications=(verification(**changes),))
        return text(analysed(workload("a", "a"), known))

    lines = [line.strip() for line in shown().splitlines()]
    place = lines.index("Best of each, run in place (2 calls 15 times)")
    assert lines[place + 1 : place + 4] == [
        "took 8.00 ms (7.50-8.50); the same calls eagerly 9.00 ms",
        "predicted 6.00 ms (-25.0%); of it Python 5.00 ms, in place 5.50 ms",
        "its answers agree with eager's (118 dB)",
    ]
    assert "WRONG: the label differs" in shown(ok=False, reason="the label differs")
    assert "run in place" not in shown(conversions={"a": "JIT_TRACE"})  # another one is the best by now
    told = "segment a runs eagerly: it draws at random"
    assert told in shown(conversions={"a": "EAGER"}, notes=(told,))


def test_what_is_not_measured_is_told() -> None:
    write_profile("a")
    report = ProfileReport.of("made")
    assert "nothing was measured yet" in text(report.data)
    with pytest.raises(UsageError, match="almaflow profile measure made BACKEND"):
        report.best()
    with pytest.raises(UsageError, match="function other: the profile has predict"):
        report.best("other")


def test_data_are_plain_and_a_copy() -> None:
    report = ProfileReport(made())
    data = report.to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    data["functions"].clear()
    assert report.data["functions"]


def test_the_page_has_the_whole_report(tmp_path: Path) -> None:
    ProfileReport(made()).html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "best of each" in page


def test_printing_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    ProfileReport(made()).print()
    assert "predict: 3 calls" in capsys.readouterr().out


def test_the_page_shows_names_and_never_runs_them() -> None:
    evil = "<img src=x onerror=alert(1)>\"'&"
    known = workload("a", "a")
    piece = replace(known.pieces["a"], location=evil, what=evil, segment_id="a")
    slot = PythonSlot(evil, 1.0, 5.0, None, 5.0)
    typical = TypicalCall(0, ("a",), (1.0,), (2.0, 3.0))
    function = replace(known.functions[0], function=evil, python=(slot,), typical=typical)
    known = replace(
        known, pieces={"a": piece}, functions=(function,), lost=(evil,), notes=(evil,), processor=evil, profile_id=evil
    )
    failed = replace(figure("a", evil, None), message=evil)
    found = verification(function=evil, conversions={"a": "EAGER"}, ok=False, reason=evil, notes=(evil,))
    data = analysed(known, replace(results(figure("a", "EAGER", 4.0), failed), verifications=(found,)))
    page = profile_page(data | {"counted_as_eager": {evil: evil}}, title=evil)
    assert "<img" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;&#34;&#39;&amp;") >= 15
