"""The check-up of an installation, one finding after the other.

Libraries that could take this process down with them, PyTorch first, are tried in processes of their own.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.config.resolve import resolve_hardware
from almaflow.config.schema import JobConfig
from almaflow.conversions.catalogue.plan import plan
from almaflow.conversions.catalogue.requirements import cuda_build, inductor, installed
from almaflow.errors import AlmaflowError
from almaflow.processes.launcher import run_worker
from almaflow.processes.logs import last_line
from almaflow.processes.one_shot import answer_of
from almaflow.records import HardwareSpec, InputSpec, MeasureSpec, ModelSpec, WorkerTask
from almaflow.records.distribution import distribution, install_line, requirements
from almaflow.tracking.store import newest_job
from almaflow.tracking.uris import display_uri, resolve_uri, sqlite_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.requirements import Requirement

STACK = ("torch", "torchvision", "alma-torch", "torchao", "onnxruntime", "openvino", "mlflow", "hydra-core")
"""Packages that are shown with their versions; every other dependency is checked too."""

IMPORT_WITHIN_S = 300.0
TINY = ModelSpec("SimpleCNN", target="almaflow.models.simple.SimpleCNN", inputs=(InputSpec((3, 32, 32)),))
QUICK = MeasureSpec(min_samples=5, min_time_s=0, max_time_s=5, warmup_calls=1, warmup_time_s=0, time_budget_s=300)


@dataclass(frozen=True)
class Finding:
    """One line of the check-up."""

    name: str
    ok: bool
    detail: str
    """The finding in words."""
    todo: str | None = None
    """The way to mend it, where there is one."""


def check_up() -> Iterator[Finding]:
    """Check everything, the quick things first. The last findings start processes and take some ten seconds each."""
    yield from _versions()
    yield from _extras()
    device = resolve_hardware(JobConfig()).device
    yield _device(device)
    yield _compiler(device)
    yield _home()
    yield _store()
    yield _alma()
    yield _eager()


def _versions() -> Iterator[Finding]:
    """Check every dependency against what the package declares."""
    yield Finding("python", ok=True, detail=sys.version.split()[0])
    try:
        yield Finding("almaflow", ok=True, detail=distribution().version)
    except metadata.PackageNotFoundError:
        yield Finding("almaflow", ok=False, detail="is not installed as a package", todo="pip install -e .")
        return
    findings = [_version(requirement) for requirement in requirements()]
    yield from (finding for finding in findings if finding.name in STACK or not finding.ok)
    others = [finding for finding in findings if finding.name not in STACK and finding.ok]
    yield Finding("other dependencies", ok=True, detail=f"{len(others)} are as declared")


def _version(wanted: Requirement) -> Finding:
    version = installed(wanted.name)
    if version and wanted.specifier.contains(version, prereleases=True):
        return Finding(wanted.name, ok=True, detail=version)
    detail = f"{version} is installed, and {wanted.specifier} is needed" if version else "is not installed"
    install = shlex.join(["pip", "install", f"{wanted.name}{wanted.specifier}"])
    return Finding(wanted.name, ok=False, detail=detail, todo=install)


def _extras() -> Iterator[Finding]:
    """Check the extras that are installed; none has to be, but what is there has to fit."""
    try:
        extras = distribution().metadata.get_all("Provides-Extra") or ()
    except metadata.PackageNotFoundError:
        return
    for extra in extras:
        wanted = requirements(extra)
        if extra in {"dev", "all"}:  # of other extras
            continue
        findings = [_version(requirement) for requirement in wanted if installed(requirement.name)]
        if len(findings) < len(wanted):
            yield Finding(f"extra {extra}", ok=True, detail=f"not installed; optional: {install_line(extra)}")
        yield from (replace(finding, name=f"extra {extra}: {finding.name}") for finding in findings)


def _device(device: str) -> Finding:
    here = machine.describe()
    if device == "cuda":
        return Finding("device", ok=True, detail=f"cuda: {here.gpus[0].name}, driver {here.driver}")
    detail = f"cpu: {here.cpu}, {here.threads} threads for each measurement"
    if here.gpus and (obstacle := cuda_build()):
        detail = f"{detail}; there is a {here.gpus[0].name}, but {obstacle.reason}"
        return Finding("device", ok=False, detail=detail, todo=obstacle.install)
    return Finding("device", ok=True, detail=detail)


def _compiler(device: str) -> Finding:
    if obstacle := inductor(device):
        return Finding("compiler", ok=False, detail=obstacle.reason, todo=obstacle.install)
    return Finding("compiler", ok=True, detail=f"torch.compile has what it needs for {device}")


def _home() -> Finding:
    directory = machine.home()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        todo = "let ALMAFLOW_HOME name a directory that can be written"
        return Finding("home", ok=False, detail=f"{directory} cannot be written ({error.strerror})", todo=todo)
    return Finding("home", ok=True, detail=str(directory))


def _store() -> Finding:
    try:
        uri = resolve_uri(None)
        database = sqlite_path(uri)
        if database and not database.exists():
            return Finding("store", ok=True, detail=f"{uri}, which the first job makes")
        newest = newest_job(uri)
    except AlmaflowError as error:
        todo = "correct MLFLOW_TRACKING_URI" if os.environ.get("MLFLOW_TRACKING_URI") else None
        return Finding("store", ok=False, detail=str(error), todo=todo)
    schema = f", schema {_schema(database)}" if database else ""
    jobs = f"newest job in experiment {newest[1]}" if newest else "no job yet"
    return Finding("store", ok=True, detail=f"{display_uri(uri)}{schema}, {jobs}")


def _schema(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(version)


def _alma(module: str = "almaflow.conversions.alma.try_import") -> Finding:
    try:
        # An empty directory, so that no file of the user's is imported in place of a library.
        with tempfile.TemporaryDirectory() as empty:
            took_s, repairs = answer_of(
                module, None, failed="does not import", timeout_s=IMPORT_WITHIN_S, directory=Path(empty)
            )
    except AlmaflowError as error:
        return Finding("alma", ok=False, detail=str(error), todo=_REINSTALL)
    repaired = f", repaired: {', '.join(repairs)}" if repairs else ""
    return Finding("alma", ok=True, detail=f"imports in {took_s:.1f} s{repaired}")


_REINSTALL = "install one of the sets of versions that are tested together: constraints/current.txt"


def _eager() -> Finding:
    """Run a tiny model through EAGER as a job does: prepare it in one worker, measure it in another."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="almaflow-") as directory:
        (eager,) = plan(["EAGER"], 1, "cpu", allow_device_override=True)
        task = WorkerTask(
            model=TINY,
            hardware=HardwareSpec("cpu", "cpu", machine.describe().threads),
            measure=QUICK,
            conversion=None,
            work_dir=str(Path(directory, "prepare")),
            reference_path=str(Path(directory, "reference.pt")),
        )
        Path(task.work_dir).mkdir()
        worker = run_worker(task)
        if worker.result.prepared:
            digest = worker.result.prepared.weights_digest
            task = replace(task, conversion=eager, work_dir=str(Path(directory, "eager")), weights_digest=digest)
            Path(task.work_dir).mkdir()
            worker = run_worker(task)
        result = worker.result
        if result.failure or result.bad_input or not result.measurement:
            last = last_line(worker.log_path)
            reason = result.failure.message if result.failure else result.bad_input or "no result"
            detail = f"a tiny model does not run in a worker: {reason}{f' ({last})' if last else ''}"
            return Finding("worker", ok=False, detail=detail, todo=_REINSTALL)
    took_s = time.perf_counter() - began
    return Finding("worker", ok=True, detail=f"a tiny model ran through EAGER; its two workers took {took_s:.0f} s")
