"""Results printed, and loaded again from the store or from almaflow's home."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.jobs.test_kept import export_at
from tests.support import example_jobs as made_jobs

import almaflow
from almaflow.analysis import to_output
from almaflow.api.results import result_of
from almaflow.errors import UsageError
from almaflow.jobs.files import JobFiles
from almaflow.records import Failure, FailureKind
from almaflow.tracking.uris import resolve_uri

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from almaflow.jobs.kept_export import Exported

RAISED = replace(
    made_jobs.failed("TORCH_SCRIPT", FailureKind.ERROR),
    failure=Failure(FailureKind.ERROR, "it broke\nat length", "convert", "Traceback (most recent call last): here"),
)
DONE = made_jobs.job(
    made_jobs.ok("EAGER", 20.0, predicted_ms=10.0),
    made_jobs.ok("COMPILE_INDUCTOR_DEFAULT", 5.0, predicted_ms=10.0),
    RAISED,
    made_jobs.unavailable("COMPILE_TENSORRT"),
)


def test_it_prints_the_table_the_failures_and_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    result = result_of(to_output(DONE))
    result.print()
    shown = re.sub(" +$", "", capsys.readouterr().out, flags=re.MULTILINE)
    lines = [line.split()[0] for line in shown.splitlines() if line.strip()]
    assert lines.index("COMPILE_INDUCTOR_DEFAULT") < lines.index("EAGER") < lines.index("TORCH_SCRIPT:")
    assert "TORCH_SCRIPT: error\n      it broke\n" in shown
    assert "COMPILE_TENSORRT: " in shown
    assert "Best: COMPILE_INDUCTOR_DEFAULT, 5.00 ms" in shown
    assert "+100.0%" in shown
    assert "Traceback" not in shown
    result.print(tracebacks=True)
    assert "Traceback (most recent call last): here" in capsys.readouterr().out


def test_it_prints_where_nothing_ran(capsys: pytest.CaptureFixture[str]) -> None:
    result_of(to_output(made_jobs.job(RAISED))).print()
    assert "Best: none" in capsys.readouterr().out


def test_the_figures_of_inductor_and_the_traceback_are_in_the_result() -> None:
    result = result_of(to_output(DONE))
    assert (result.inductor_latency_ms, result.inductor_error_pct) == (5.0, 100.0)
    assert [each["traceback"] for each in result.conversions] == [
        *(None, None, "Traceback (most recent call last): here", None)
    ]
    alone = result_of(to_output(made_jobs.job(made_jobs.ok("EAGER"))))
    assert (alone.inductor_latency_ms, alone.inductor_error_pct) == (None, None)


def test_a_job_that_the_store_does_not_have_is_found_in_the_home(home: Path) -> None:
    output = to_output(DONE)
    directory = home / "jobs" / "j1" / "summary"
    directory.mkdir(parents=True)
    (directory / "output.json").write_text(json.dumps(output), encoding="utf-8")
    assert almaflow.load_job("j1").to_dict() == output
    for missing in (None, "j2", "../j1"):
        with pytest.raises(UsageError, match="no such job or sweep"):
            almaflow.load_job(missing)


def test_jobs_and_sweeps_of_the_store_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    output = to_output(DONE)
    monkeypatch.setattr("almaflow.tracking.reader.outputs_of", lambda *_: ("s", [output, output]))
    assert [each.to_dict() for each in almaflow.load_sweep("s")] == [output, output]
    with pytest.raises(UsageError, match=r"^s: is a sweep of 2 jobs; call almaflow\.load_sweep$"):
        almaflow.load_job("s")


def test_what_an_older_almaflow_did_not_write_is_none() -> None:
    output = to_output(DONE)
    del output["inductor_latency_ms"]
    assert result_of(output).inductor_latency_ms is None


def test_a_result_chooses_under_limits_without_measuring_again() -> None:
    result = result_of(to_output(DONE))
    found = result.choose(max={"latency/mean": 10}, min={"fidelity/sqnr_db": 40}, by="throughput")
    assert (found.conversion, found.fitting) == ("COMPILE_INDUCTOR_DEFAULT", ["COMPILE_INDUCTOR_DEFAULT"])
    assert found.rejected == {"EAGER": ["latency/mean 20 > 10"]}
    assert result.choose().conversion == result.best_conversion
    assert result.choose(max={"latency_ms": 1}).conversion is None
    for wrong in ({"max": {"latency/p98": 1}}, {"min": {"x": 1}}, {"by": "x"}):
        with pytest.raises(UsageError, match="no such metric"):
            result.choose(**wrong)


def test_a_result_exports_what_its_job_has_kept(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root = home / "jobs" / "mine"
    JobFiles.of(root).create()
    export_at(root / "kept" / "EAGER", "EAGER")
    made = replace(DONE, job_id="mine", directory=str(root))
    JobFiles.of(root).write_job(made)
    result = result_of(to_output(made))
    assert result.export(to=tmp_path / "out", check=False) == tmp_path / "out"
    assert (tmp_path / "out" / "README.md").is_file()
    with pytest.raises(UsageError, match=r"^COMPILE_INDUCTOR_DEFAULT: it was not kept"):
        result.export("COMPILE_INDUCTOR_DEFAULT", to=tmp_path / "other")
    found: list[tuple[str, str]] = []

    def checked(exported: Exported, store: str, say: Callable[[str], None]) -> None:
        found.append((exported.export.conversion, store))
        say("waits")

    monkeypatch.setattr("almaflow.jobs.kept_check.checked", checked)
    result.export("EAGER", to=str(tmp_path / "checked"), tracking_uri="sqlite:///x.db")
    assert found == [("EAGER", resolve_uri("sqlite:///x.db"))]
    assert caplog.messages == ["waits"]
