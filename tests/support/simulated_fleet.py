"""A fleet of simulated machines: a head, machines that joined it, and a user at the head."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING, Any, Self

from tests.support.simulated_machines import Network

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from subprocess import CompletedProcess, Popen

    from tests.support.simulated_machines import SimulatedMachine

HOME = "/mnt/home"
SECRETS = {"MLFLOW_TRACKING_PASSWORD": "planted-store-pass", "AWS_SECRET_ACCESS_KEY": "planted-cloud-key"}
BEGINS = re.compile(r"begins on machine (\w+)")
PATIENCE_S = 300.0


def has_ray() -> bool:
    """Whether Ray and its client are installed."""
    return bool(find_spec("ray") and find_spec("grpc"))


def variables() -> dict[str, str]:
    """Variables of a user who has secrets for other things."""
    plain = {name: value for name, value in os.environ.items() if name not in {"TMPDIR", "MLFLOW_TRACKING_URI"}}
    search = os.pathsep.join(path for path in sys.path if path)
    return plain | SECRETS | {"ALMAFLOW_HOME": HOME, "PYTHONPATH": search}


def almaflow(machine: SimulatedMachine, *words: str, timeout: float = PATIENCE_S) -> CompletedProcess[str]:
    """Run a command of almaflow on a machine to its end."""
    return machine.run([sys.executable, "-P", "-m", "almaflow", *words], env=variables(), timeout=timeout)


@dataclass
class SimulatedFleet:
    """A head, and machines by their IDs."""

    head: SimulatedMachine
    machines: dict[str, SimulatedMachine]
    address: str
    token: str

    @classmethod
    @contextmanager
    def laid(cls, names: Sequence[str], *, lost_after_s: float) -> Iterator[Self]:
        """Start a head and machines, and take all away in the end."""
        with Network.laid() as network:
            head = network.add("head")
            machines = [network.add(name) for name in names]
            begun = almaflow(head, "fleet", "head", "--host", head.address, "--lost-after", str(lost_after_s))
            assert begun.returncode == 0, begun.stdout
            token = (head.disk / "home/fleet/token").read_text(encoding="ascii")
            fleet = cls(head, {}, f"{head.address}:6379", token)
            joins = [threading.Thread(target=fleet.join, args=(machine,)) for machine in machines]
            for thread in joins:
                thread.start()
            for thread in joins:
                thread.join()
            assert len(fleet.machines) == len(names), almaflow(head, "fleet", "list").stdout
            yield fleet

    @property
    def store(self) -> str:
        """The user's store."""
        return f"sqlite:///{self.head.disk}/home/mlflow.db"

    def join(self, machine: SimulatedMachine, token: str | None = None) -> CompletedProcess[str]:
        """Bring a machine in."""
        (machine.disk / "token").write_text(token or self.token, encoding="ascii")
        done = almaflow(machine, "fleet", "join", self.address, "--kind", "cpu", "--token-file", "/mnt/token")
        if done.returncode == 0:
            self.machines[(machine.disk / "home/machine_id").read_text(encoding="utf-8").strip()] = machine
        return done

    def start_sweep(self, log: Path, *words: str) -> Popen[Any]:
        """Start a sweep of the smallest model at the head."""
        command = [sys.executable, "-P", "-m", "almaflow", "run", "-m", "model=simple", "conversions=[EAGER]"]
        command += ["hardware=cpu", "measure=quick", "fleet=ray", f"fleet.address={self.address}", *words]
        with log.open("ab") as stream:
            return self.head.start(command, env=variables(), stdout=stream, stderr=stream)


def wait_for(
    log: Path, pattern: re.Pattern[str], count: int, writer: Popen[Any] | None = None, within_s: float = PATIENCE_S
) -> list[str]:
    """Wait until a pattern was written so often, and return what it found; no longer than its writer runs."""
    deadline = time.monotonic() + within_s
    while True:
        is_over = writer is not None and writer.poll() is not None
        said = log.read_text(encoding="utf-8")
        if len(found := pattern.findall(said)) >= count:
            return list(found)
        assert not is_over, f"it ended before {pattern.pattern!r} was written {count} times:\n{said}"
        assert time.monotonic() < deadline, f"{pattern.pattern!r} was not written {count} times:\n{said}"
        time.sleep(0.2)


def ended(process: Popen[Any], log: Path, within_s: float) -> int:
    """Wait for the end of a command, and return its exit code."""
    try:
        return process.wait(within_s)
    except TimeoutExpired:
        message = f"it did not end within {within_s:.0f} s:\n{log.read_text(encoding='utf-8')}"
    raise AssertionError(message)
