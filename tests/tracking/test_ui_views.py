"""The prepared pages in a real browser, in a laptop's window with MLflow's Assistant open: the figures are in view."""

from __future__ import annotations

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
    assert [view.key for view in found.views] == [views.SWEEP, views.JOB, views.ACCURACY]
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


def lines(seen: list[Seen], name: str) -> list[str]:
    """The texts that stand beside a run's name."""
    (found,) = (each for each in seen if each.text == name)
    return browser.beside(found, seen)


@pytest.mark.skipif(browser.found() is None, reason="no Chromium is installed (Debian: apt-get install chromium)")
def test_each_page_opens_on_the_answer(tmp_path: Path) -> None:
    two_jobs_of_a_sweep()
    track(resolve_uri(None), series_of(nights(5, experiment="almaflow")))
    found = {each.experiment: each for each in pages.prepare_pages(resolve_uri(None))}
    own, errors = found["almaflow"].experiment_id, found["almaflow accuracy"].experiment_id
    runs = [
        run.info.run_id
        for run in connect(resolve_uri(None)).search_runs([own], "tags.`almaflow.status` = 'ok'")
        if run.data.tags["almaflow.kind"] == "conversion"
    ]
    query = urlencode({"runs": str(runs).replace("'", '"'), "experiments": f'["{own}"]'})
    port = free_port(None)
    with serving(resolve_uri(None), port), browser.window(tmp_path / "profile") as shown:
        base = f"http://127.0.0.1:{port}"

        def texts(link: str, until: str) -> list[Seen]:
            return shown.open(link).seen_when(lambda seen: any(each.text == until for each in seen))

        sweep = texts(pages.link(base, own, views.SWEEP), "ONNX_CPU_INT8_STATIC mobilenet_v3_large b2")
        job = texts(pages.link(base, own, views.JOB), "ONNX_CPU_INT8_STATIC efficientnet_b0 b2")
        errors_of_all = texts(pages.link(base, own, views.ACCURACY), "ONNX_CPU_INT8_STATIC efficientnet_b0 b2")
        series = texts(pages.link(base, errors, views.SERIES), "resnet18 b1 ONNX_CPU on office by calibrated")
        charts = texts(pages.link(base, own, views.JOB, charts=True), "speedup_vs_eager")
        compare = texts(f"{base}/#/compare-runs?{query}", "latency_ms")
    for seen in (sweep, job, errors_of_all, series):
        assert any(ASSISTANT in each.text for each in seen)
