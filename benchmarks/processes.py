"""Child processes of the benchmarks, which are ended whatever happens, and jobs of almaflow as such."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from almaflow.processes.logs import last_line, reason_of
from almaflow.processes.sessions import end_session
from shared import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

END_S = 20.0
"""How long a child that is asked to end may take: a job writes what it has measured."""


def call(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    *,
    directory: Path | None = None,
    timeout_s: float | None = None,
) -> float:
    """Seconds from starting a child to its exit: a stopwatch for whole commands, whose output is only kept.

    Args:
        command: What to run.
        log: Gets its stdout and stderr.
        environment: All of its environment.
        directory: Where it works; here where that is None.
        timeout_s: When it is ended; with one, the end is seen up to 50 ms late.

    Raises:
        BenchmarkError: it failed or was ended; with the last thing that it said.
    """
    began = time.perf_counter()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=directory,
            start_new_session=True,  # whatever it starts is ended with it
        )
    try:
        code = process.wait(timeout_s)
        wall_s = time.perf_counter() - began
    except subprocess.TimeoutExpired as error:
        message = f"{shown(command)}: not done after {timeout_s:g} s, ended; it last said: {last_line(log)}"
        raise BenchmarkError(message) from error
    finally:
        end_session(process, END_S)
    if code:
        message = f"{shown(command)}: {reason_of(code, log)}"
        raise BenchmarkError(message)
    return wall_s


def shown(command: Sequence[str]) -> str:
    """A command as a reader would write it: without where the interpreter is."""
    words = ["python" if word == sys.executable else word for word in command]
    return " ".join(words[:8] + ["..."] * (len(words) > 8))  # noqa: PLR2004 - what comes then are overrides


@dataclass(frozen=True)
class Ran:
    """A job that ran in a process of its own."""

    output: dict[str, Any]
    """What ``output=FILE.json`` holds."""
    directory: Path
    """The job's files."""
    wall_s: float
    """Of the whole process."""

    def conversions(self) -> dict[str, dict[str, Any]]:
        """The entries of those that ended well, by their names."""
        return {each["conversion"]: each for each in self.output["conversions"] if each["status"] == "ok"}

    def require_all(self) -> dict[str, dict[str, Any]]:
        """The entries of all.

        Raises:
            BenchmarkError: one did not end well.
        """
        for each in self.output["conversions"]:
            if each["status"] != "ok":
                message = f"{each['conversion']}: {each['status']}: {each['message']}"
                raise BenchmarkError(message)
        return self.conversions()


def home_environment(home: Path, **more: str) -> dict[str, str]:
    """This process's environment with another almaflow home, and no other store than the one in it."""
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    return environment | {"ALMAFLOW_HOME": str(home)} | more


def first_job(home: Path, **more: str) -> None:
    """Run a small job in a new home, as its user has done long ago.

    It creates the store and finds out what is kept of the machine: its description, and what inductor asks of the
    compiler.

    Args:
        home: Almaflow's home.
        more: Environment variables.

    Raises:
        BenchmarkError: the job failed; with what it said.
    """
    small = ("model=simple", "hardware=cpu", "conversions=[EAGER,COMPILE_INDUCTOR_DEFAULT]", "measure=quick")
    run_almaflow([*small, "measure.exclusive=ignore"], home, **more)


def run_almaflow(overrides: Sequence[str], home: Path, **more: str) -> Ran:
    """``almaflow run`` as a user runs it, in a fresh process.

    Args:
        overrides: Of its configuration.
        home: Almaflow's home, which is made where it is not there.
        more: Environment variables.

    Raises:
        BenchmarkError: the job failed; with what it said.
    """
    home.mkdir(parents=True, exist_ok=True)
    output = home / "output.json"
    output.unlink(missing_ok=True)
    command = [sys.executable, "-m", "almaflow", "run", *overrides, f"output={output}"]
    wall_s = call(command, home / "log.txt", home_environment(home, **more))
    data = json.loads(output.read_text(encoding="utf-8"))
    return Ran(data, home / "jobs" / data["job_id"], wall_s)
