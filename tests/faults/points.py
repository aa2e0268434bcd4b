"""Points in the real product at which a fault can be injected, by the words that schedules and scenarios use.

A point is a function by its import path; a fault comes before or after a call of it. ``test_count.py`` shows that each
still exists and is reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

COMMAND, WORKER = "command", "worker"


@dataclass(frozen=True)
class Point:
    """A function, and the kind of process that a fault is injected into."""

    target: str
    """``module:function`` or ``module:Class.method``."""
    role: str = COMMAND

    def find(self) -> tuple[Any, str, Any]:
        """Give what holds the function, its name there, and the function."""
        module, _, path = self.target.partition(":")
        *parents, name = path.split(".")
        owner: Any = import_module(module)
        for parent in parents:
            owner = getattr(owner, parent)
        return owner, name, getattr(owner, name)


_CLIENT = "mlflow.tracking.client:MlflowClient"

POINTS = {
    # A job, from its beginning to its end.
    "reference run": Point("almaflow.measure.reference:reference_info"),
    "predictions": Point("almaflow.predict.job_predictions:JobPredictions.before"),
    "job opened": Point("almaflow.jobs.store:JobStore.open"),
    "record begun": Point("almaflow.jobs.record:JobRecord.begin"),
    "worker asked for": Point("almaflow.processes.launcher:Launcher.ask"),
    "worker started": Point("almaflow.processes.launcher:AskedFor.started"),
    "round": Point("almaflow.processes.worker_handle:WorkerHandle.turn"),
    "worker ended": Point("almaflow.processes.worker_handle:WorkerHandle.finish"),
    "outcome written": Point("almaflow.jobs.files:JobFiles.write_outcome"),
    "job written": Point("almaflow.jobs.files:JobFiles.write_job"),
    "conversion logged": Point("almaflow.jobs.store:JobStore.log"),
    "summary written": Point("almaflow.jobs.artifacts:write_summary"),
    "job closed": Point("almaflow.jobs.store:JobStore.close"),
    # Whatever is written to disk or to the store, by whichever command.
    "record written": Point("almaflow.records.json_files:write_json"),
    "create run": Point(f"{_CLIENT}.create_run"),
    "log batch": Point(f"{_CLIENT}.log_batch"),
    "log artifacts": Point(f"{_CLIENT}.log_artifacts"),
    "end run": Point(f"{_CLIENT}.set_terminated"),
    # A resumed job, a sync, a sweep.
    "look up": Point("almaflow.jobs.resume:resume"),
    "catch up": Point("almaflow.tracking.replay:catch_up"),
    "delete run": Point(f"{_CLIENT}.delete_run"),
    "sweep job written": Point("almaflow.sweeps.files:SweepFiles.write_job"),
    # A worker, in its own process.
    "load": Point("almaflow.worker.conversion:_load", WORKER),
    "convert": Point("almaflow.worker.conversion:convert", WORKER),
    "check": Point("almaflow.worker.check:Checker.check", WORKER),
    "warm-up": Point("almaflow.worker.timing:warm_up", WORKER),
    "timed calls": Point("almaflow.worker.timing:take", WORKER),
    "result written": Point("almaflow.records.json_files:write_json", WORKER),
}
