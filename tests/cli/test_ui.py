"""The command that shows the store in MLflow's pages."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING
from urllib.request import ProxyHandler, build_opener

import psutil
import pytest
from click.testing import CliRunner
from tests.support.empty_stores import copy_empty_store

from almaflow.cli import ui as ui_module
from almaflow.errors import UsageError
from almaflow.tracking import ui_views as views
from almaflow.tracking.session import MLFLOW_DEFAULTS
from almaflow.tracking.ui_pages import Pages

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALMAFLOW_HOME", str(tmp_path / "home"))
    for name, value in MLFLOW_DEFAULTS.items():
        monkeypatch.setenv(name, value)


def test_a_store_without_runs_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"no runs in sqlite:///{tmp_path}/home/mlflow\.db yet: .*`almaflow run`"):
        CliRunner().invoke(ui_module.ui, [], catch_exceptions=False)
    assert not (tmp_path / "home").exists()


def test_a_tracking_server_needs_only_its_link(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    newest = Pages("3", "mine", (views.View(views.JOB, "newest job", 0, {}),))
    errors = Pages("4", "mine accuracy", (views.View(views.SERIES, "errors", 0, {}),))
    monkeypatch.setattr(ui_module, "prepare_pages", lambda _: [newest, errors])
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setenv("DISPLAY", ":0")
    arguments = ["--uri", "https://me:S3cr@host"]
    all_runs = "https://host/#/experiments/3/runs?workflowType=machine_learning"
    link = "https://host/#/experiments/3/runs?viewStateShareKey=almaflow-job&workflowType=machine_learning"
    link += "&compareRunsMode=TABLE"
    others = [line.replace("/3/", "/4/").replace("almaflow-job", "almaflow-series") for line in (all_runs, link)]
    expected = f"Experiment mine: {all_runs}\n  newest job: {link}\n"
    expected += f"Experiment mine accuracy: {others[0]}\n  errors: {others[1]}\n"
    assert CliRunner().invoke(ui_module.ui, [*arguments, "--no-open"]).output == expected
    assert not opened
    CliRunner().invoke(ui_module.ui, arguments)
    assert opened == [link]


@pytest.mark.slow
def test_the_pages_are_served_and_end_with_the_command(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    copy_empty_store(tmp_path / "home" / "mlflow.db")
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/home/mlflow.db")
    experiment_id = client.create_experiment("mine", artifact_location=(tmp_path / "home/mlartifacts").as_uri())
    run = client.create_run(experiment_id, tags={"almaflow.kind": "job"}, run_name="resnet18 b1 tier 2")
    client.log_text(run.info.run_id, "# Summary", "summary.md")

    command = [sys.executable, "-c", "from almaflow.cli.ui import ui; ui()", "--no-open"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    process = subprocess.Popen(command, cwd=elsewhere, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        link = re.search(
            r"^Experiment mine: (http://127\.0\.0\.1:\d+)/#/experiments/(\d+)/runs\?workflowType=", lines[1]
        )
        assert link, lines + process.stdout.readlines()
        assert link[2] == experiment_id
        with build_opener(ProxyHandler({})).open(link[1], timeout=30) as page:
            assert b"MLflow" in page.read()
        served = MlflowClient(tracking_uri=link[1])
        assert [entry.path for entry in served.list_artifacts(run.info.run_id)] == ["summary.md"]
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        assert not [child for child in children if "mlflow.server.jobs" in " ".join(child.cmdline())]
        os.kill(process.pid, signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, output
    assert "has ended" in output
    deadline = time.monotonic() + 5
    while any(child.is_running() for child in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [child for child in children if child.is_running()]
    assert not list(elsewhere.iterdir())
