"""The prepared pages in a real browser: the figures are read from MLflow's own page."""

from __future__ import annotations

import re
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from html import unescape
from typing import TYPE_CHECKING

import pytest
from tests.support.example_jobs import failed, in_rounds, ok
from tests.support.stored_jobs import new, stored

from almaflow.records import Job, Prediction
from almaflow.tracking import ui_views as views
from almaflow.tracking.session import connect
from almaflow.tracking.ui_server import free_port, serving
from almaflow.tracking.uris import resolve_uri

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

EXPERIMENT_TAG_LENGTH = 5000
"""MLflow's limit."""

ATTEMPTS = 4


def test_the_views_fit_into_tags_and_are_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    two_jobs_of_a_sweep()
    uri = resolve_uri(None)
    client = connect(uri)
    (experiment,) = (each for each in client.search_experiments() if each.name == "almaflow")
    monkeypatch.setattr(type(client), "set_experiment_tag", lambda *_: pytest.fail("the job has written it"))
    pages = views.prepare_pages(uri)
    assert pages
    assert [view.key for view in pages.views] == [views.SWEEP, views.JOB, views.ACCURACY]
    for name, value in (view.tag for view in pages.views):
        assert experiment.tags[name] == value
        assert len(value) < EXPERIMENT_TAG_LENGTH


def browser() -> str:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    return found


def page_of(link: str, profile: Path, *, until: str) -> str:
    """The text of a page that has ``until`` on it, one cell or label a line; without it where it does not come.

    Chromium's virtual time may run out before a chart is drawn, which real time seldom would: so it is asked again.
    """
    text = ""
    for attempt in range(ATTEMPTS):
        text = _once(link, profile / str(attempt))
        if until in text:
            break
    return text


def _once(link: str, profile: Path) -> str:
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]
    command += [f"--user-data-dir={profile}", "--window-size=2600,1400", "--virtual-time-budget=30000", "--dump-dom"]
    done = subprocess.run([*command, link], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    text = re.sub(r"<(script|style)\b.*?</\1>", "", done.stdout, flags=re.DOTALL)
    return unescape(re.sub(r"(?:<[^>]*>\s*)+", "\n", text))


@contextmanager
def served() -> Iterator[str]:
    port = free_port(None)
    with serving(resolve_uri(None), port):
        yield f"http://127.0.0.1:{port}"


def two_jobs_of_a_sweep() -> None:
    for started_at, (model, latency) in enumerate((("resnet18", 20.0), ("mobilenet_v2", 7.0)), 1):
        eager = in_rounds(ok("EAGER"), [latency] * 8)
        quick = in_rounds(ok("ONNX_CPU"), [latency / 4] * 8)
        quick = replace(quick, prediction=Prediction(latency / 2, "given", "1"))
        made = new(model)
        job: Job = replace(
            made, sweep_id="sweep-1", started_at=float(started_at), model=replace(made.model, name=model)
        )
        stored(model, eager, quick, failed("COMPILE_TVM"), made=job)


def test_each_page_opens_on_the_answer(tmp_path: Path) -> None:
    browser()
    two_jobs_of_a_sweep()
    found = views.prepare_pages(resolve_uri(None))
    assert found
    with served() as base:
        shown = {
            view.key: page_of(views.link(base, found.experiment_id, view.key), tmp_path / view.key, until="ONNX_CPU")
            for view in found.views
        }
        link = views.link(base, found.experiment_id, views.JOB, charts=True)
        charts = page_of(link, tmp_path / "charts", until="speedup_vs_eager")
    # The sweep: every model's figures, without a click.
    for text in ("latency_ms", "speedup_vs_eager", "resnet18", "mobilenet_v2", "ONNX_CPU", "5", "1.75", "error"):
        assert f"\n{text}\n" in shown[views.SWEEP], text
    # The newest job alone, its fastest conversion first.
    job = shown[views.JOB]
    assert "mobilenet_v2" in job
    assert "resnet18" not in job.replace("resnet18 b", "")
    assert job.index("ONNX_CPU mobilenet_v2") < job.index("EAGER mobilenet_v2")
    assert "\nprediction_error_pct\n" in shown[views.ACCURACY]
    assert "\n100\n" in shown[views.ACCURACY]
    assert "COMPILE_TVM" not in shown[views.ACCURACY]
    assert "latency_ms" in charts
    assert "speedup_vs_eager" in charts
    assert "No charts in this section" not in charts
