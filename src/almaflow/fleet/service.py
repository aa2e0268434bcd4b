"""Commands that stay: the head, and a machine in a fleet. Each runs once a home, in the foreground or behind it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
from filelock import FileLock, Timeout

from almaflow import machine
from almaflow.errors import AlmaflowError, RecordError, UsageError
from almaflow.fleet.engines.ray_node import RAY_VARIABLES
from almaflow.fleet.environment import measuring_environment
from almaflow.records import read_json, write_json
from almaflow.secrets import PRIVATE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

READY = "ready: "
"""What the line of a service begins with once it serves."""
PASSED = (*RAY_VARIABLES, "RAY_AUTH_MODE")
STARTS_WITHIN_S = 300.0
ENDS_WITHIN_S = 60.0


@dataclass(frozen=True)
class Running:
    """A service that runs."""

    pid: int
    started_at: float
    """When its process began, in seconds since the epoch: its ID may be another process's by now."""
    address: str


def directory() -> Path:
    """Return the directory of the fleet in almaflow's home, which is its owner's alone."""
    place = machine.home() / "fleet"
    place.mkdir(PRIVATE, parents=True, exist_ok=True)
    return place


@dataclass(frozen=True)
class Service:
    """The service of a name: ``head`` or ``join``."""

    name: str

    @property
    def log(self) -> Path:
        """What the service printed, where it runs in the background."""
        return directory() / f"{self.name}.log"

    @contextmanager
    def held(self, address: str) -> Iterator[None]:
        """Be this home's only such service while the block runs.

        Raises:
            UsageError: one runs already.
        """
        lock = FileLock(directory() / f"{self.name}.lock", mode=0o600)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            message = f"`almaflow fleet {self.name}` runs here already; `almaflow fleet stop` ends it"
            raise UsageError(message) from None
        place = directory() / f"{self.name}.json"
        try:
            write_json(place, Running(os.getpid(), psutil.Process().create_time(), address))
            yield
        finally:
            place.unlink(missing_ok=True)
            lock.release()

    def running(self) -> Running | None:
        """Return the service that runs here, if one does."""
        try:
            found = read_json(directory() / f"{self.name}.json", Running)
            is_same = abs(psutil.Process(found.pid).create_time() - found.started_at) < 1
        except (FileNotFoundError, RecordError, psutil.Error):
            return None
        return found if is_same else None

    def start(self, arguments: Sequence[str]) -> str:
        """Start the service behind this process, and return what it says once it serves.

        Raises:
            AlmaflowError: it ended, and the line says why.
        """
        command = [sys.executable, "-P", "-m", "almaflow", "fleet", self.name, *arguments, "--foreground"]
        with self.log.open("wb") as stream:
            process = subprocess.Popen(
                command,
                env=measuring_environment() | {name: os.environ[name] for name in PASSED if name in os.environ},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        deadline = time.monotonic() + STARTS_WITHIN_S
        while process.poll() is None and time.monotonic() < deadline:
            if (said := self._said()) and (ready := [line for line in said if line.startswith(READY)]):
                return "\n".join([*ready[-1:], *said[said.index(ready[-1]) + 1 :]]).removeprefix(READY)
            time.sleep(0.1)
        if process.poll() is None:
            process.terminate()
        said = self._said() or [f"it did not start; {self.log} says why"]
        error = UsageError if process.returncode == UsageError.exit_code else AlmaflowError
        raise error(said[-1].removeprefix("almaflow: "))

    def _said(self) -> list[str]:
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return text[: text.rfind("\n") + 1].splitlines()

    def stop(self) -> bool:
        """End the service that runs here, and return whether one did."""
        found = self.running()
        if found is None:
            return False
        process = psutil.Process(found.pid)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(ENDS_WITHIN_S)
        except psutil.TimeoutExpired:
            process.kill()
        return True


HEAD, JOIN = Service("head"), Service("join")
