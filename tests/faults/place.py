"""A place in which commands go wrong: a home, a store, and a model whose versions can be told apart by its figures."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.faults.commands import Command, Ended, MlflowServer, Zygote, start

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.inject import Fault

CONVERSIONS = ("EAGER", "BF16+EAGER")
MIN_SAMPLES = 9
SLEEPS_MS = {1: 1.0, 2: 12.0, 3: 30.0}
"""How long each version of the model sleeps in a call. What lies between them is far more than a busy machine adds to
the quickest of several calls."""

MODEL = """
import time
import torch

class Sleepy(torch.nn.Linear):
    def __init__(self):
        super().__init__(8, 4)

    def forward(self, x):
        time.sleep({seconds})
        return super().forward(x) * {factor}
"""

QUICK = (
    "measure=quick",
    "measure.exclusive=ignore",
    "measure.compile_cache=warm",
    f"measure.min_samples={MIN_SAMPLES}",
    "measure.min_time_s=0",
    "measure.max_time_s=1",
    "measure.warmup_calls=0",
    "measure.warmup_time_s=0",
    "measure.fidelity_inputs=1",
    "measure.time_budget_s=40",
    "measure.memory_limit_mb=4000",  # the rest of the machine may leave less
    "hardware=cpu",
    "hardware.threads=1",
)
SLEEPY = ("model=custom", "model._target_=sleepy.Sleepy", "model.inputs=[{shape: [8]}]", *QUICK)


@dataclass
class Place:
    """A directory with a home, a store and a model."""

    zygote: Zygote
    root: Path
    template: Path
    """A store that is copied, since making one takes seconds."""
    version: int = 1
    postgres: str = ""
    """The address of a store in PostgreSQL, where that is counted in the place of the file."""
    name: str = "home"
    """Where its home is."""
    bare: frozenset[str] = frozenset()
    """The only variables that commands get, where it is not empty."""
    environment: dict[str, str] = field(default_factory=dict)
    always: tuple[Fault, ...] = ()
    """What is wrong in every command."""

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        (self.root / "tmp").mkdir(exist_ok=True)
        shutil.copy(self.template, self.database)
        self.edit(self.version)

    @property
    def home(self) -> Path:
        return self.root / self.name

    @property
    def database(self) -> Path:
        return self.home / "mlflow.db"

    @property
    def store(self) -> Path | str:
        """What is counted."""
        return self.postgres or self.database

    @property
    def jobs(self) -> list[Path]:
        return sorted(path for path in (self.home / "jobs").glob("*") if path.is_dir())

    def edit(self, version: int) -> None:
        """Give the model another version: other figures, the same class and parameters."""
        text = MODEL.format(seconds=SLEEPS_MS[version] / 1000, factor=version)
        (self.root / "sleepy.py").write_text(text, encoding="utf-8")
        self.version = version

    def start(
        self,
        *arguments: str,
        faults: tuple[Fault, ...] = (),
        stdout: Path | None = None,
        stderr: Path | None = None,
        **environment: str,
    ) -> Command:
        """Start any command."""
        own = self.environment_of_command() | environment
        return start(
            self.zygote, arguments, self.root, own, (*self.always, *faults), stdout=stdout, stderr=stderr
        )  # fmt: skip

    def environment_of_command(self) -> dict[str, str]:
        """The variables that a command gets."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "ALMAFLOW_"))}
        own |= {"ALMAFLOW_HOME": str(self.home), "TMPDIR": str(self.root / "tmp"), "COLUMNS": "200", "PYTHONPATH": ""}
        own |= {"MLFLOW_HTTP_REQUEST_TIMEOUT": "2", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
        own |= {"HOME": str(self.root)} | self.environment
        return {name: value for name, value in own.items() if name in self.bare} if self.bare else own

    def almaflow(self, *arguments: str, faults: tuple[Fault, ...] = (), **environment: Any) -> Ended:
        """Run any command to its end."""
        return self.start(*arguments, faults=faults, **environment).end()

    def measuring(self, *more: str, conversions: tuple[str, ...] = CONVERSIONS) -> tuple[str, ...]:
        """The arguments of a command that measures the model."""
        return ("run", *SLEEPY, f"conversions=[{','.join(conversions)}]", *more)

    def run(self, *more: str, faults: tuple[Fault, ...] = (), **environment: str) -> Ended:
        """Measure the model."""
        return self.almaflow(*self.measuring(*more), faults=faults, **environment)

    def resume(self, *more: str, faults: tuple[Fault, ...] = (), **environment: str) -> Ended:
        """Measure what the store lacks."""
        return self.run("resume=true", *more, faults=faults, **environment)

    def sync(self, *more: str, faults: tuple[Fault, ...] = (), **environment: str) -> Ended:
        """Write to the store what it lacks."""
        return self.almaflow("sync", *more, faults=faults, **environment)

    def output(self, name: str = "out.json") -> dict[str, Any]:
        """What a command wrote to ``output=``."""
        data: dict[str, Any] = json.loads((self.root / name).read_text(encoding="utf-8"))
        return data

    def server(self) -> MlflowServer:
        """MLflow's server over the store, not yet started."""
        return MlflowServer(self.zygote, self.root / "server", self.database)

    def copy_store(self) -> Path:
        """A backup of the store, as sqlite makes one."""
        path = self.root / "backup.db"
        path.unlink(missing_ok=True)
        with closing(sqlite3.connect(self.database)) as store, closing(sqlite3.connect(path)) as copy:
            store.backup(copy)
        return path

    def restore_store(self) -> None:
        """Put the backup in the place of the store."""
        for name in (self.database, *self.home.glob("mlflow.db-*")):
            name.unlink(missing_ok=True)
        shutil.copy(self.root / "backup.db", self.database)
