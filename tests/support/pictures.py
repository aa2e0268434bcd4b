"""The pictures in ``docs/pictures/``, taken of the example store in the window that people have.

``python -m tests.support.pictures`` takes them anew; ``python -m tests.support.pictures sweep`` takes one.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.support import browser
from tests.support.markdown_documents import ROOT

from almaflow.cli import almaflow
from almaflow.tracking import ui_pages as pages
from almaflow.tracking import ui_views as views
from almaflow.tracking.ui_server import free_port, serving

PICTURES = ROOT / "docs" / "pictures"
PAGE = (1100, 1300)
"""Pixels of a window for a document of its own."""
APPLICATION = (
    *("examples/profile/semantic_search.py", "--function", "search", "--measure", "quick"),
    *("--backend", "local/ONNX_CPU", "--backend", "local/OPENVINO"),
)
"""The application of the profile's picture, which is recorded and measured for it."""


def main(*wanted: str) -> None:
    """Take the pictures of these names, or all of them."""
    with tempfile.TemporaryDirectory(prefix="pictures-") as directory:
        place = Path(directory)
        os.environ["ALMAFLOW_HOME"] = str(place / "home")
        shutil.copytree(ROOT / "mlruns_example", place / "store")
        store = f"sqlite:///{place}/store/mlflow.db"
        served = {each.experiment: each.experiment_id for each in pages.prepare_pages(store)}
        _documents(place, store, wanted)
        with serving(store, port := free_port(None)), browser.window(place / "profile") as window:
            base = f"http://127.0.0.1:{port}"
            shown = {
                "sweep": (pages.link(base, served["example"], views.SWEEP), "latency_ms"),
                "charts": (pages.link(base, served["example"], views.JOB, charts=True), "latency_ms"),
                "sweep_best": (pages.link(base, served["example"], views.SWEEP_BEST, charts=True), "speedup_vs_eager"),
                "accuracy": (pages.link(base, served["nightly accuracy"], views.SERIES, charts=True), "error_pct"),
            }
            for name, (link, until) in shown.items():
                if name in (wanted or shown):
                    window.open(link).seen_when(partial(_has, until))
                    window.picture(PICTURES / f"{name}.png")


def _has(text: str, seen: list[browser.Seen]) -> bool:
    return any(each.text == text for each in seen)


def _documents(place: Path, store: str, wanted: tuple[str, ...]) -> None:
    """Take the pages that are files of their own."""
    written = {
        "accuracy_page": ["accuracy", "--uri", store, "--experiment", "nightly", "--html"],
        "sweep_report": ["report", "--uri", store, _sweep(store), "--output"],
    }
    if not wanted or "profile_report" in wanted:
        written["profile_report"] = ["report", _profile(place), "--output"]
    with browser.window(place / "documents", PAGE) as window:
        for name, command in written.items():
            if name in (wanted or written):
                path = place / f"{name}.html"
                almaflow([*command, str(path)], standalone_mode=False)
                window.open(path.as_uri()).seen_when(bool)
                window.picture(PICTURES / f"{name}.png")


def _profile(place: Path) -> str:
    """Record and measure an application, and return the ID of its profile."""
    store = f"sqlite:///{place}/profiles.db"
    os.chdir(ROOT)
    almaflow(["profile", *APPLICATION, "--uri", store], standalone_mode=False)
    (profile,) = (place / "home" / "profiles").iterdir()
    return profile.name


def _sweep(store: str) -> str:
    """The ID of the sweep of the example store."""
    example = next(each for each in pages.prepare_pages(store) if each.experiment == "example")
    return example.views[0].title.split()[1]


if __name__ == "__main__":
    main(*sys.argv[1:])
