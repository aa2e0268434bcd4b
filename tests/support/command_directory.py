"""A place in which whole commands are run, with a home for almaflow in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.forked_commands import ForkedCommand, fork

if TYPE_CHECKING:
    from mlflow.entities import Run
    from tests.faults.commands import Zygote

TESTS = Path(__file__).parent
QUICK = ("measure=quick", "measure.compile_cache=warm", "measure.min_time_s=0", "measure.log_level=INFO")
LINEAR = (
    "model=custom",
    "model._target_=torch.nn.Linear",
    "model.kwargs={in_features: 8, out_features: 4}",
    "model.inputs=[{shape: [8]}]",
    *QUICK,
)
"""The smallest model there is."""


@dataclass(frozen=True)
class Place:
    """A directory with a home for almaflow in it, in which commands are run."""

    root: Path
    zygote: Zygote | None = None
    """What forks the commands, which spares each the seconds of its imports; else they are started as by a shell."""

    @property
    def home(self) -> Path:
        return self.root / "almaflow-home"

    def with_store(self) -> Place:
        """Put an empty store there, which spares the command the seconds of making one."""
        from tests.support.empty_stores import copy_empty_store

        copy_empty_store(self.home / "mlflow.db")
        return self

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        path = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
        return {**os.environ, "ALMAFLOW_HOME": str(self.home), "PYTHONPATH": path, "COLUMNS": "200", **more}

    def almaflow(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command that measures nothing."""
        with self._begin(arguments, {}) as process:
            out, _ = process.communicate()
        assert process.returncode is not None
        return subprocess.CompletedProcess(arguments, process.returncode, out, self.stderr)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str] | ForkedCommand:
        return self._begin(("run", *arguments), environment)

    def _begin(self, arguments: tuple[str, ...], more: dict[str, str]) -> subprocess.Popen[str] | ForkedCommand:
        environment, stderr = self.environment(more), self.root / "stderr.txt"
        if self.zygote:
            return fork(self.zygote, ("almaflow", *arguments), self.root, environment, stderr)
        return subprocess.Popen(
            [sys.executable, "-m", "almaflow", *arguments],
            cwd=self.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=stderr.open("w"),
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> int:
        with self.start(*arguments, **environment) as process:
            process.communicate()
        assert process.returncode is not None
        return process.returncode

    @property
    def stderr(self) -> str:
        return (self.root / "stderr.txt").read_text(encoding="utf-8")

    def job(self) -> tuple[Path, dict[str, Any]]:
        """The directory of the only job, and what is in its record."""
        (directory,) = (self.home / "jobs").iterdir()
        record: dict[str, Any] = json.loads((directory / "job.json").read_text(encoding="utf-8"))
        return directory, record

    def runs(self) -> dict[str, Run]:
        """Every run in the store, by its conversion; the job's own is 'job'."""
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{self.home / 'mlflow.db'}")
        found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
        return {run.data.params.get("conversion", run.data.tags["almaflow.kind"]): run for run in found}
