"""Directories without a form, as three commits wrote them: read, written to a new store, shown in a report."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from almaflow.analysis.output import completed
from almaflow.analysis.sweep import summarise
from almaflow.cli import main
from almaflow.jobs.files import JobFiles
from almaflow.records import read_data, to_dict
from almaflow.report.html_page import document
from almaflow.sweeps.files import sweeps

if TYPE_CHECKING:
    from mlflow.entities import Run

    from almaflow.errors import RecordError

WRITTEN = Path(__file__).parent / "written_by_commits"
COMMITS = {"58e2a2a": 0, "f1071c6": 1, "913d6f2": 1}
"""The commits from the oldest on, with the number of sweeps that each left."""


@pytest.fixture(params=COMMITS)
def commit(request: pytest.FixtureRequest, home: Path) -> str:
    """The commit whose home is unpacked at the place of the test's own."""
    with tarfile.open(WRITTEN / f"{request.param}.tar.xz") as tar:
        tar.extractall(home, filter="data")
    for path in home.rglob("*.json"):
        path.write_text(path.read_text(encoding="utf-8").replace("@HOME@", str(home)), encoding="utf-8")
    return str(request.param)


def test_a_job_is_read_with_all_its_outcomes(commit: str, home: Path) -> None:
    (path,) = home.glob("jobs/*/job.json")
    raw = json.loads(path.read_text(encoding="utf-8"))
    assert commit
    assert "form" not in raw
    files = JobFiles.of(path.parent)
    unreadable: list[RecordError] = []
    read, found = files.read_job(), files.outcomes(unreadable)
    assert unreadable == []
    assert list(found) == ["EAGER", "EXPORT+EAGER", "TENSORRT"]
    for outcome, stored in zip(read.outcomes, raw["outcomes"], strict=True):
        assert (outcome.status, outcome.run_id) == (stored["status"], stored["run_id"])
        measured = to_dict(outcome.measurement) or {}
        for name in ("samples_ms", "device_actual", "fidelity"):
            known = stored["measurement"] or {}
            if name == "fidelity" and known.get(name):
                assert measured[name].items() >= known[name].items()
            else:
                assert list(measured.get(name) or ()) == list(known.get(name) or ())


def test_a_sweep_is_read_with_its_jobs(commit: str) -> None:
    found = list(sweeps())
    assert len(found) == COMMITS[commit]
    for files in found:
        rows = summarise(files.read(), files.jobs()).rows
        assert [(row.what, row.problem) for row in rows] == [("simple b1", None), ("simple b2", None)]


def test_a_report_leaves_out_what_was_not_known_then(commit: str, home: Path) -> None:
    (path,) = home.glob("jobs/*/summary/output.json")
    raw = read_data(path)
    page = document(commit, [completed(raw)])
    for each in raw["conversions"]:
        assert each["conversion"] in page


@pytest.mark.slow
@pytest.mark.parametrize("commit", ["f1071c6"], indirect=True)
def test_a_new_store_gets_what_an_older_almaflow_measured(
    commit: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The job has the IDs of runs that this store does not know."""
    from mlflow import MlflowClient

    with pytest.raises(SystemExit) as ended:
        main(["sync"])
    out, err = capsys.readouterr()
    assert ended.value.code in {None, 0}, err
    assert COMMITS[commit]
    assert out.count(": written") == 2
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    found: list[Run] = client.search_runs([each.experiment_id for each in client.search_experiments()])
    kinds = sorted(run.data.tags["almaflow.kind"] for run in found)
    assert kinds == ["conversion", "conversion", "conversion", "job", "sweep"]
    statuses = {run.data.params["conversion"]: run.info.status for run in found if "conversion" in run.data.params}
    raw = json.loads(next(home.glob("jobs/*/job.json")).read_text(encoding="utf-8"))
    expected = {each["planned"]["name"]: each["status"] for each in raw["outcomes"]}
    assert statuses == {name: "FINISHED" if status == "ok" else "FAILED" for name, status in expected.items()}
