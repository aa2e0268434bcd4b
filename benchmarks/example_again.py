"""Write the results of ``mlruns_example/`` anew, without measuring: what the code of today tells of them.

Each job is made again from what its runs hold, and goes to the store as ``almaflow sync`` writes jobs. Its conversions
must get the fingerprints that they had, which shows that nothing of them is lost. The old runs are removed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from mlflow import MlflowClient

from almaflow.analysis import to_output
from almaflow.analysis.sweep import summarise
from almaflow.conversions.catalogue.plan import with_traits
from almaflow.jobs.files import JobFiles
from almaflow.jobs.sync import close_in_store
from almaflow.records import (
    Drift,
    HardwareSpec,
    Job,
    MeasureSpec,
    ModelSpec,
    Outcome,
    ReferenceInfo,
    Sweep,
    SweepJob,
    from_dict,
    read_data,
    read_json,
    write_json,
)
from almaflow.records.results import TensorSpec
from almaflow.records.workload import Workload
from almaflow.report.sweep import sweep_markdown
from almaflow.tracking.fingerprints import fingerprint
from almaflow.tracking.store import search
from almaflow.tracking.sweeps import log_sweep
from almaflow.tracking.ui_pages import prepare_pages
from almaflow.tracking.ui_server import free_port, serving
from shared import BenchmarkError, run_script, say

if TYPE_CHECKING:
    from mlflow.entities import Run

HERE = Path(__file__).resolve().parents[1] / "mlruns_example"
EXPERIMENTS = ("example", "nightly")


def main() -> None:
    """Write the store's results anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, default=HERE, help="the store's")
    parser.add_argument("--port", type=int, help="of the server that writes it")
    arguments = parser.parse_args()
    place: Path = arguments.directory.resolve()
    store = f"sqlite:///{place}/mlflow.db"
    with tempfile.TemporaryDirectory(prefix="example-") as scratch:
        os.environ["ALMAFLOW_HOME"] = scratch
        port = free_port(arguments.port)
        with serving(store, port):
            address = f"http://127.0.0.1:{port}"
            os.environ["MLFLOW_TRACKING_URI"] = address
            client = MlflowClient(address)
            for name in EXPERIMENTS:
                _write_anew(client, address, name, place / "mlartifacts")
            _delete(client, "nightly accuracy")
            _run("almaflow", "accuracy", "--experiment", "nightly", "--track")
            _run("mlflow", "gc", "--backend-store-uri", store, "--tracking-uri", address)
            prepare_pages(address)
    with closing(sqlite3.connect(place / "mlflow.db")) as database:
        database.execute("VACUUM")


def _run(module: str, *arguments: str) -> None:
    if subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode:
        message = f"{module} {arguments[0]} failed"
        raise BenchmarkError(message)


def _runs(client: MlflowClient, experiment: str, kind: str) -> list[Run]:
    found = client.get_experiment_by_name(experiment)
    if found is None:
        message = f"the store has no experiment {experiment}"
        raise BenchmarkError(message)
    order = ["attributes.start_time ASC"]
    return list(search(client, [found.experiment_id], f"tags.`almaflow.kind` = '{kind}'", order))


def _delete(client: MlflowClient, experiment: str) -> None:
    for kind in ("accuracy", "sweep", "job", "conversion"):
        for run in _runs(client, experiment, kind):
            client.delete_run(run.info.run_id)


def _write_anew(client: MlflowClient, address: str, experiment: str, artifacts: Path) -> None:
    of_job: dict[str, list[Run]] = {}
    for run in _runs(client, experiment, "conversion"):
        of_job.setdefault(run.data.tags["almaflow.job_id"], []).append(run)
    own = _runs(client, experiment, "job")
    jobs = [_job(run, of_job[run.data.tags["almaflow.job_id"]], experiment, artifacts) for run in own]
    tracking_s = {run.data.tags["almaflow.job_id"]: run.data.metrics for run in own}
    sweeps = _runs(client, experiment, "sweep")
    _delete(client, experiment)
    for job, files in jobs:
        more = {name: value for name, value in tracking_s[job.job_id].items() if name == "time/tracking"}
        close_in_store(files, job, address, more=more)
        say(f"{experiment}: {job.model.name}, batch size {job.model.batch_size}")
    for run in sweeps:
        _write_sweep(run, [job for job, _ in jobs if job.sweep_id == run.data.tags["almaflow.sweep_id"]], address)


def _job(own: Run, runs: list[Run], experiment: str, artifacts: Path) -> tuple[Job, JobFiles]:
    """Make a job of its runs, and its files as they were."""
    params, tags, metrics = own.data.params, own.data.tags, own.data.metrics

    def files_of(run: Run) -> Path:
        return artifacts / str(run.info.experiment_id) / str(run.info.run_id) / "artifacts"

    config: dict[str, Any] = yaml.safe_load((files_of(own) / "config.yaml").read_text(encoding="utf-8"))
    settings = {name: value for name, value in config["measure"].items() if name in MeasureSpec.__dataclass_fields__}
    drift_pct = metrics.get("machine/drift_pct")
    drift = None
    if drift_pct is not None:  # only the ratio of both is known, and only that is used
        drift = Drift(100.0, 100.0 + drift_pct, metrics["machine/drift_resolved_pct"] / 100)
    files = JobFiles.of(Path(os.environ["ALMAFLOW_HOME"]) / "jobs" / tags["almaflow.job_id"])
    files.create()
    kept = {run.data.params["conversion"]: run for run in runs}
    names = [each["conversion"] for each in read_data(files_of(own) / "output.json")["conversions"]]
    outcomes = []
    for index, name in enumerate(names):
        outcome = with_traits(read_json(files_of(kept[name]) / "outcome.json", Outcome))
        directory = files.conversion_dir(index, outcome.planned)
        shutil.copytree(files_of(kept[name]), directory, dirs_exist_ok=True)
        files.write_outcome(directory, outcome)
        outcomes.append(outcome)
    job = Job(
        job_id=tags["almaflow.job_id"],
        directory=str(files.root),
        model=ModelSpec(params["model"], arch=config["model"]["arch"], batch_size=int(params["batch_size"])),
        hardware=HardwareSpec(params["hardware"], params["device"], int(params["threads"])),
        measure=MeasureSpec(**settings),
        tier=int(params["tier"]),
        experiment_name=experiment,
        config=config,
        environment={name.removeprefix("env."): value for name, value in tags.items() if name.startswith("env.")},
        started_at=own.info.start_time / 1000,
        prepared=_prepared(own, files_of(own)),
        outcomes=tuple(outcomes),
        ended_at=own.info.end_time / 1000,
        drift=drift,
        sweep_id=tags.get("almaflow.sweep_id"),
        plan_fingerprint=tags.get("almaflow.plan_fingerprint"),
    )
    for outcome in outcomes:
        if fingerprint(job, outcome.planned) != kept[outcome.planned.name].data.tags["almaflow.fingerprint"]:
            message = f"{job.job_id}: {outcome.planned.name} would be another result"
            raise BenchmarkError(message)
    return job, files


def _prepared(own: Run, artifacts: Path) -> ReferenceInfo:
    """Make what is told of the model: its inputs, its operations, and the number of its parameters."""
    from torchvision.models import get_model_weights

    params = own.data.params
    shape = tuple(map(int, params["input_shape"].split("x")))
    data = read_data(artifacts / "workload.json")
    known = {name: value for name, value in data.items() if name in Workload.__dataclass_fields__}
    parameters = next(iter(get_model_weights(params["model"]))).meta["num_params"]
    inputs = (TensorSpec(shape, "float32"),)
    workload = from_dict(Workload, known)
    return ReferenceInfo(inputs, (), parameters, "", own.data.tags["env.cpu"], {}, 0.0, workload=workload)


def _write_sweep(run: Run, jobs: list[Job], address: str) -> None:
    started_at, ended_at = run.info.start_time / 1000, run.info.end_time / 1000
    overrides = tuple(run.data.params["sweep"].split())
    sweep = Sweep(run.data.tags["almaflow.sweep_id"], overrides, None, started_at, ended_at)
    ended = [
        SweepJob(number, (f"job={number}",), job.started_at, job.ended_at or job.started_at, 0, output=to_output(job))
        for number, job in enumerate(jobs)
    ]
    summary = summarise(sweep, ended)
    with tempfile.TemporaryDirectory(prefix="example-") as directory:
        Path(directory, "summary.md").write_text(sweep_markdown(summary), encoding="utf-8")
        write_json(Path(directory, "jobs.json"), [each.output for each in ended])
        log_sweep(address, jobs[0].experiment_name, sweep, summary.metrics, sweep_markdown(summary), Path(directory))


if __name__ == "__main__":
    run_script(main)
