"""The prepared pages in a real browser, in a laptop's window with MLflow's Assistant open: the figures are in view."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from tests.support import browser
from tests.support.example_jobs import failed, in_rounds, ok
from tests.support.scored_runs import nights
from tests.support.stored_jobs import new, stored

from almaflow.accuracy.summary import series_of
from almaflow.records import Job, Prediction
from almaflow.tracking import ui_pages as pages
from almaflow.tracking import ui_views as views
from almaflow.tracking.accuracy.series_runs import track
from almaflow.tracking.session import connect
from almaflow.tracking.ui_server import free_port, serving
from almaflow.tracking.uris import resolve_uri

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.browser import Seen

pytestmark = pytest.mark.slow

EXPERIMENT_TAG_LENGTH = 5000
"""MLflow's limit."""
ASSISTANT = "MLflow Assistant"
"""Heading of the panel that is open until somebody closes it."""


def test_the_views_fit_into_tags_and_are_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    two_jobs_of_a_sweep()
    uri = resolve_uri(None)
    client = connect(uri)
    (experiment,) = (each for each in client.search_experiments() if each.name == "almaflow")
    monkeypatch.setattr(type(client), "set_experiment_tag", lambda *_: pytest.fail("the job has written it"))
    (found,) = pages.prepare_pages(uri)
    assert [view.key for view in found.views] == [views.SWEEP, views.SWEEP_BEST, views.JOB, views.ACCURACY]
    for name, value in (view.tag for view in found.views):
        assert experiment.tags[name] == value
        assert len(value) < EXPERIMENT_TAG_LENGTH


def two_jobs_of_a_sweep() -> None:
    for started_at, (model, latency) in enumerate((("mobilenet_v3_large", 20.0), ("efficientnet_b0", 7.0)), 1):
        eager = in_rounds(ok("EAGER"), [latency] * 8)
        quick = in_rounds(ok("ONNX_CPU_INT8_STATIC"), [latency / 4] * 8)
        quick = replace(quick, prediction=Prediction(latency / 2, "given", "1"))
        made = new(model)
        job: Job = replace(
            made, sweep_id="sweep-1", started_at=float(started_at), model=replace(made.model, name=model)
        )
        stored(model, eager, quick, failed("COMPILE_TVM"), made=job)


def row(seen: list[Seen], name: str, *, whole: bool = True) -> list[str]:
    """The texts that stand beside a run's name, of which the conversion has to be in view."""
    (found,) = (each for each in seen if each.text == name)
    return browser.beside(found, seen, whole=whole)


@pytest.mark.skipif(browser.found() is None, reason="no Chromium is installed (Debian: apt-get install chromium)")
def test_each_page_opens_on_the_answer(tmp_path: Path) -> None:
    uri = resolve_uri(None)
    two_jobs_of_a_sweep()
    track(uri, series_of(nights(5, experiment="almaflow")))
    found = {each.experiment: each for each in pages.prepare_pages(uri)}
    own, errors = found["almaflow"].experiment_id, found["almaflow accuracy"].experiment_id
    with serving(uri, port := free_port(None)), browser.window(tmp_path / "profile") as window:
        base = f"http://127.0.0.1:{port}"

        def shown(link: str, until: str) -> list[Seen]:
            return window.open(link).seen_when(lambda seen: any(each.text == until for each in seen))

        sweep = shown(pages.link(base, own, views.SWEEP), "ONNX_CPU_INT8_STATIC mobilenet_v3_large b2")
        job = shown(pages.link(base, own, views.JOB), "ONNX_CPU_INT8_STATIC efficientnet_b0 b2")
        predicted = shown(pages.link(base, own, views.ACCURACY), "ONNX_CPU_INT8_STATIC efficientnet_b0 b2")
        series = shown(pages.link(base, errors, views.SERIES), "resnet18 b1 ONNX_CPU on office by calibrated")
        best = shown(pages.link(base, own, views.SWEEP_BEST, charts=True), "speedup_vs_eager")
        charts = shown(pages.link(base, own, views.JOB, charts=True), "latency_ms")
        lines = shown(pages.link(base, errors, views.SERIES, charts=True), "error_pct")
        compared = shown(_compare(base, own), "latency_ms")
    for seen in (sweep, job, predicted, series, best, charts, lines):
        assert any(each.text == ASSISTANT for each in seen)
    assert_figures_are_in_view(sweep, job, predicted, series)
    for title, seen in (("speedup_vs_eager", best), ("latency_ms", charts), ("error_pct", lines)):
        assert title in {each.text for each in seen if each.whole}
    assert "predicted_latency_ms" not in {each.text for each in compared}


def assert_figures_are_in_view(sweep: list[Seen], job: list[Seen], predicted: list[Seen], series: list[Seen]) -> None:
    """Name, latency, speedup and fidelity of every run, errors, and why one failed."""
    for model, latency in (("mobilenet_v3_large", 20), ("efficientnet_b0", 7)):
        assert {f"{each} {model} b2" for each in ("EAGER", "COMPILE_TVM")} <= {
            each.text for each in sweep if each.whole
        }
        assert row(sweep, f"EAGER {model} b2")[1:4] == [f"{latency}", "1", "110"]
        assert row(sweep, f"ONNX_CPU_INT8_STATIC {model} b2")[1:4] == [f"{latency / 4:g}", "4", "110"]
        told = row(sweep, f"COMPILE_TVM {model} b2", whole=False)
        assert "error in convert: it broke" in told
    fastest = row(job, "ONNX_CPU_INT8_STATIC efficientnet_b0 b2")
    assert fastest[-4:] == ["1.75", "4", "110", "1.75 ms, 4.00x eager, 110.0 dB ok"]
    assert "error in convert: it broke" in row(job, "COMPILE_TVM efficientnet_b0 b2")
    names = [each.text for each in sorted(job, key=lambda each: each.top) if each.text.endswith(" b2")]
    assert [name.split()[0] for name in names] == ["ONNX_CPU_INT8_STATIC", "EAGER", "COMPILE_TVM"]
    assert not [each for each in job if "mobilenet" in each.text]
    assert row(predicted, "ONNX_CPU_INT8_STATIC efficientnet_b0 b2")[1:4] == ["1.75", "3.5", "100"]
    assert not [each for each in predicted if "COMPILE_TVM" in each.text]
    assert len(row(series, "resnet18 b1 ONNX_CPU on office by calibrated")) > 3


def _compare(base: str, experiment_id: str) -> str:
    """The page that compares the runs of conversions."""
    where = "tags.`almaflow.status` = 'ok' AND tags.`almaflow.kind` = 'conversion'"
    runs = [run.info.run_id for run in connect(resolve_uri(None)).search_runs([experiment_id], where)]
    return f"{base}/#/compare-runs?{urlencode({'runs': json.dumps(runs), 'experiments': json.dumps([experiment_id])})}"
