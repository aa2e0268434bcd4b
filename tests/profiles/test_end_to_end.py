"""A function is recorded, its larger graph is measured by real workers, and the second time nothing is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from tests.cli.test_profile import APP

from almaflow.cli.profile import profile
from almaflow.profiles.report import ProfileReport
from almaflow.tracking.reader import conversion_runs
from almaflow.tracking.uris import resolve_uri

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_a_function_is_measured_and_the_second_time_nothing_is(stored_home: Path) -> None:
    words = [str(APP), "--function", "predict", "--backend", "local/ONNX_CPU", "--measure", "quick", "--", "8"]
    done = CliRunner().invoke(profile, words, standalone_mode=False)
    assert (done.exception, done.return_value) == (None, 0), done.output
    assert "answers: 8" in done.output
    assert "measured 1 of 1 segments" in done.stderr
    name = next((stored_home / "profiles").iterdir()).name
    data = ProfileReport.of(name).to_dict()
    (function,) = data["functions"]
    totals = {each["conversion"]: each for each in function["totals"]}
    assert {*totals} == {"best", "EAGER", "ONNX_CPU"}
    assert all(each["ms"] > 0 and each["failures"] == 0 for each in totals.values())
    assert totals["best"]["ms"] <= totals["EAGER"]["ms"]
    assert data["covered_pct"] > 99
    measured, small = function["segments"]
    assert [cell["status"] for cell in measured["cells"]] == ["ok", "ok"]
    assert data["counted_as_eager"][small["segment_id"]].startswith("below 50 us")
    runs = list(conversion_runs(resolve_uri(None), "almaflow"))
    assert {run.tags["almaflow.profile_id"] for run in runs} == {name}
    assert {run.params["calls"] for run in runs} == {"8"}

    again = CliRunner().invoke(
        profile, ["measure", name, "local/ONNX_CPU", "--measure", "quick"], standalone_mode=False
    )
    assert (again.exception, again.return_value) == (None, 0), again.output
    assert "measured 0 of 1 segments" in again.stderr
    assert len(list(conversion_runs(resolve_uri(None), "almaflow"))) == len(runs)
