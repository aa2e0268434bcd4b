"""A head and two machines, all simulated: one of them loses its power and the other its network while they measure.

One fleet serves all tests of this file, since Ray takes half a minute to start on three machines.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from tests.support.simulated_machines import NEEDS, Network, SimulatedMachine, can_simulate

from almaflow.tracking.reader import conversion_runs, job_runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from subprocess import CompletedProcess

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not can_simulate(), reason=f"simulated machines: {NEEDS}"),
    pytest.mark.skipif(
        not (find_spec("ray") and find_spec("grpc")), reason="needs Ray: pip install 'mlflow-alma[ray]'"
    ),
]

HOME = "/mnt/home"
LOST_S = 45
PULLED_S = 20
SECRETS = {"MLFLOW_TRACKING_PASSWORD": "planted-store-pass", "AWS_SECRET_ACCESS_KEY": "planted-cloud-key"}
BEGINS = re.compile(r"begins on machine (\w+)")


def variables() -> dict[str, str]:
    """Variables of a user who has secrets for other things."""
    plain = {name: value for name, value in os.environ.items() if name not in {"TMPDIR", "MLFLOW_TRACKING_URI"}}
    search = os.pathsep.join(path for path in sys.path if path)
    return plain | SECRETS | {"ALMAFLOW_HOME": HOME, "PYTHONPATH": search}


def almaflow(machine: SimulatedMachine, *words: str, timeout: float = 300) -> CompletedProcess[str]:
    return machine.run([sys.executable, "-P", "-m", "almaflow", *words], env=variables(), timeout=timeout)


@dataclass
class Fleet:
    """The simulated fleet, and what its one sweep went through."""

    head: SimulatedMachine
    machines: dict[str, SimulatedMachine]
    address: str
    token: str
    said: str = ""
    code: int = -1
    off: str = ""
    """ID of the machine that lost its power."""
    seen: str = ""
    """Variables of all processes on a machine while it measured."""
    orders: list[str] = field(default_factory=list)

    @property
    def store(self) -> str:
        return f"sqlite:///{self.head.disk}/home/mlflow.db"


@pytest.fixture(scope="module")
def bare_fleet() -> Iterator[Fleet]:
    with Network.laid() as network:
        head = network.add("head")
        machines = [network.add("anna"), network.add("bert")]
        begun = almaflow(head, "fleet", "head", "--host", head.address, "--lost-after", str(LOST_S))
        assert begun.returncode == 0, begun.stdout
        address = f"{head.address}:6379"
        token = (head.disk / "home/fleet/token").read_text(encoding="ascii")
        joins = [threading.Thread(target=join, args=(machine, address, token)) for machine in machines]
        for thread in joins:
            thread.start()
        for thread in joins:
            thread.join()
        ids = {machine_id_of(machine): machine for machine in machines}
        yield Fleet(head, ids, address, token)


def join(machine: SimulatedMachine, address: str, token: str) -> CompletedProcess[str]:
    (machine.disk / "token").write_text(token, encoding="ascii")
    return almaflow(machine, "fleet", "join", address, "--kind", "cpu", "--token-file", "/mnt/token")


def machine_id_of(machine: SimulatedMachine) -> str:
    place = machine.disk / "home/machine_id"
    return place.read_text(encoding="utf-8").strip() if place.exists() else machine.name


@pytest.fixture(scope="module")
def fleet(bare_fleet: Fleet) -> Fleet:
    """Two orders on two machines. When both run, one machine is switched off, and the other's cable is pulled."""
    log = bare_fleet.head.disk / "sweep.log"
    words = ["run", "-m", "model=simple", "batch_size=1,2", "conversions=[EAGER]", "hardware=cpu", "measure=quick"]
    words += ["fleet=ray", f"fleet.address={bare_fleet.address}"]
    with log.open("wb") as stream:
        sweep = bare_fleet.head.start(
            [sys.executable, "-P", "-m", "almaflow", *words], env=variables(), stdout=stream, stderr=stream
        )
        begun = wait_for(log, BEGINS, 2)
        bare_fleet.off = begun[0]
        power_gone, cable_pulled = (bare_fleet.machines[each] for each in begun[:2])
        power_gone.power_off()
        cable_pulled.pull_cable()
        time.sleep(PULLED_S)
        cable_pulled.plug_in()
        bare_fleet.seen = cable_pulled.run(["bash", "-c", "cat /proc/[0-9]*/environ | tr '\\0' '\\n'"]).stdout
        bare_fleet.code = sweep.wait(400)
    bare_fleet.said = log.read_text(encoding="utf-8")
    return bare_fleet


def wait_for(log: Path, pattern: re.Pattern[str], count: int) -> list[str]:
    deadline = time.monotonic() + 240
    while len(found := pattern.findall(log.read_text(encoding="utf-8"))) < count:
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
        time.sleep(0.2)
    return list(found)


def test_each_order_has_exactly_one_result(fleet: Fleet) -> None:
    assert fleet.code == 0, fleet.said
    found = Counter(
        (run.params["batch_size"], run.tags["almaflow.conversion"], run.tags["almaflow.status"])
        for run in conversion_runs(fleet.store)
    )
    assert found == {("1", "EAGER", "ok"): 1, ("2", "EAGER", "ok"): 1}
    assert len(job_runs(fleet.store)) == 2


def test_the_machine_without_power_is_named_and_the_other_one_measures_both(fleet: Fleet) -> None:
    lost = re.findall(r"machine (\w+) is lost", fleet.said)
    assert lost == [fleet.off], "a cable that is pulled for less than the lease changes nothing"
    measured = {run.tags["almaflow.machine"] for run in conversion_runs(fleet.store)}
    assert measured == set(fleet.machines) - {fleet.off}


def test_a_machine_that_comes_back_joins_again_and_its_dead_order_goes(fleet: Fleet) -> None:
    machine = fleet.machines[fleet.off]
    assert list((machine.disk / "home/fleet/spool/orders").iterdir())
    machine.power_on()
    joined = join(machine, fleet.address, fleet.token)
    assert joined.returncode == 0, joined.stdout
    assert f"machine {fleet.off} is in the fleet" in joined.stdout
    listed = almaflow(fleet.head, "fleet", "list")
    assert listed.stdout.count("idle") == 2, listed.stdout
    deadline = time.monotonic() + 60
    while list((machine.disk / "home/fleet/spool/orders").iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_a_wrong_token_is_refused_with_one_line(fleet: Fleet) -> None:
    machine = fleet.machines[fleet.off]
    assert almaflow(machine, "fleet", "stop").stdout.strip() == "ended: join"
    refused = join(machine, fleet.address, "0" * len(fleet.token))
    assert refused.returncode == 1
    assert len(refused.stdout.strip().splitlines()) == 1
    assert "the head refuses the token: copy the file" in refused.stdout


def test_no_secret_of_the_user_reaches_a_machine(fleet: Fleet) -> None:
    assert "RAY_AUTH_TOKEN_PATH" in fleet.seen, "Ray's processes were looked at"
    assert "almaflow" in fleet.seen
    for name, secret in {**SECRETS, "the token": fleet.token}.items():
        assert secret not in fleet.seen, name
        where = ["grep", "-rlF", "--exclude=token", secret, "/mnt", "/tmp/ray"]  # noqa: S108 - the machine's own
        for machine in fleet.machines.values():
            if machine.first is not None:
                assert machine.run(where).stdout == "", (name, machine.name)
        found = fleet.head.run(where).stdout
        assert found == "", (name, found)
